"""Errors of the tui wing: each message is one sentence for the person at the keyboard."""


class TuiError(Exception):
    """Base of every error about commands and screens; its text says what, where and what to do."""


class UsageError(TuiError):
    """A command was called in a way that means nothing; ends the program with exit code 2."""


class InputError(TuiError):
    """A file that a command was told to read cannot be read, or what it says is wrong."""
