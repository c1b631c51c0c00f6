"""Command line, Textual chat and settings: everything the user sees."""
