"""What a person sees: the commands, the Textual chat and its settings."""
