"""The chat in the terminal, drawn with Textual."""
