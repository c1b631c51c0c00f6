"""List the keys of the chat, for bindings and for the help."""
