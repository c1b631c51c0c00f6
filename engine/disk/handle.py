"""Define the base class of objects that own C memory or open files, which are freed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self


class Handle(ABC):
    """A C object or an open file, freed once by `close` or the end of a `with` block.

    The garbage collector does not free it.
    """

    is_closed = False

    def close(self) -> None:
        """Free the object; closing it twice does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._free()

    @abstractmethod
    def _free(self) -> None:
        """Free the object, after everything that depends on it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
