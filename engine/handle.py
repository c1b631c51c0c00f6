"""Objects of a C library that Python owns: freed once, and not by the garbage collector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Handle(ABC):
    """A C object that is freed once, at the latest when a `with` block ends."""

    is_closed = False

    def close(self) -> None:
        """Free the C object; closing twice does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._free()

    @abstractmethod
    def _free(self) -> None:
        """Free the C object, after whatever depends on it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
