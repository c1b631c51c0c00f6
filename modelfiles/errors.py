"""Errors of the modelfiles package; each message is one sentence for the user."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self


class SubjectError(Exception):
    """An error about a file or another thing that the user may know by another name.

    Args:
        reason: What is wrong and what to do: a whole sentence, or, with a `subject`, the rest of
            the sentence that begins with it, such as `is empty: download it again.`
        subject: Path or name of the thing.
    """

    def __init__(self, reason: str, subject: Path | str | None = None) -> None:
        super().__init__(reason, subject)
        self.reason = reason
        self.subject = subject

    def __str__(self) -> str:
        return self.reason if self.subject is None else f"{self.subject} {self.reason}"

    def about(self, names: Mapping[Path, str]) -> Self:
        """Use the user's name for the subject if it is a file of `names` or lies in a folder of it.

        A folder's name may end with the separator that a file's follows, `hf.co/user/repo:`.
        Returns the same error, with its cause and traceback.
        """
        for path, name in names.items():
            if self.subject is not None and Path(self.subject).is_relative_to(path):
                inner = Path(self.subject).relative_to(path)
                separator = "" if name.endswith((":", "/")) else "/"
                self.subject = f"{name}{separator}{inner}" if inner.name else name.rstrip(":/")
                break
        return self


@contextmanager
def naming(names: Mapping[Path, str]) -> Iterator[None]:
    """Word the errors raised inside about the user's names for files and folders."""
    try:
        yield
    except SubjectError as error:
        error.about(names)
        raise


def names_of_stored(names: Mapping[Path, str]) -> dict[Path, str]:
    """Return the names of files that are called by their digest, in a store or a cache.

    Other files keep the path in messages: the user named them by it.
    """
    return {path: name for path, name in names.items() if _DIGEST.search(path.name)}


_DIGEST = re.compile("[0-9a-f]{64}")


class ModelfilesError(SubjectError):
    """Base class of the package's errors; the text says what failed, where, and what to do."""


class ModelfileError(ModelfilesError):
    """A Modelfile is unreadable or invalid; `line` is the line of the error, if known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
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
