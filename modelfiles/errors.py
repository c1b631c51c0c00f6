"""Errors of the modelfiles package; each message is one sentence for the user."""


class ModelfilesError(Exception):
    """Base class of the package's errors; the text says what failed, where, and what to do."""


class ModelfileError(ModelfilesError):
    """A Modelfile is unreadable or invalid; `line` is the line of the error, if known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class ModelNameError(ModelfilesError):
    """A model name breaks the naming rules."""


class ModelNotFoundError(ModelfilesError):
    """No model has the given name."""


class ReferenceNotFoundError(ModelfilesError):
    """A reference to a base, adapter or draft cannot be resolved to a readable file."""


class StoreError(ModelfilesError):
    """The model store cannot be read or written."""


class OllamaError(ModelfilesError):
    """A model of Ollama's store cannot be read, or llama.cpp cannot run it."""


class TemplateError(ModelfilesError):
    """A chat template cannot be parsed or rendered."""


class ParameterError(ModelfilesError):
    """A PARAMETER has an unknown name or an invalid value."""


class PackagedModelError(ModelfilesError):
    """A model that comes with the program cannot be changed or removed."""
