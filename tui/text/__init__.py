"""Word what the commands and the chat both show."""
