"""The command that answers one prompt, or opens the chat."""
