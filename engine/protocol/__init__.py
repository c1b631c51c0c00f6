"""Define what the chat and an engine say to each other."""
