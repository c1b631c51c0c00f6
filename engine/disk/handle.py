"""What Python owns outside its own memory: freed once, and not by the garbage collector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Handle(ABC):
    """A C object, or an open file, that is freed once, at the latest when a `with` block ends."""

    is_closed = False

    def close(self) -> None:
        """Free what is owned; closing twice does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._free()

    @abstractmethod
    def _free(self) -> None:
        """Free what is owned, after whatever depends on it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
