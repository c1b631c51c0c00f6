"""Commands typed into the chat: the table, the parser, the completion and what they do."""
