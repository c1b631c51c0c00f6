"""Errors of the modelfiles wing: each message is one sentence for the person at the keyboard."""


class ModelfilesError(Exception):
    """Base of every error about what a model is; its text says what, where and what to do."""


class ModelfileError(ModelfilesError):
    """A Modelfile cannot be read or means nothing; carries the line where that was found."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class ModelNameError(ModelfilesError):
    """A model name breaks the naming rules."""


class ModelNotFoundError(ModelfilesError):
    """No model of that name exists in the store, nor in the package."""


class ReferenceNotFoundError(ModelfilesError):
    """A FROM or ADAPTER reference leads to nothing."""


class StoreError(ModelfilesError):
    """The model store cannot be read or written."""


class OllamaError(ModelfilesError):
    """A model of Ollama's store cannot be read, or is of a kind that cannot be run here."""


class TemplateError(ModelfilesError):
    """A chat template cannot be parsed or rendered."""


class ParameterError(ModelfilesError):
    """A PARAMETER has an unknown name or a value it cannot take."""


class PackagedModelError(ModelfilesError):
    """A model that comes with the program cannot be changed or removed."""
