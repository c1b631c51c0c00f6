"""Errors of the tui package: each message is one sentence for the user."""


class TuiError(Exception):
    """Base of all errors of commands and screens; says what is wrong, where and what to do."""


class UsageError(TuiError):
    """A command line or a settings file that cannot be used as written; exit code 2."""


class InputError(TuiError):
    """A file that a command needs cannot be read, or its content is wrong."""
