"""Commands typed into the chat: their table, parser, completion and actions."""
