"""Import llama.cpp's low-level bindings and redirect its messages from stderr to `logging`."""

from __future__ import annotations

import ctypes

from engine.llama.cpu import shorten_waits

shorten_waits()  # OpenMP reads this once, when llama_cpp loads it

import llama_cpp.llama_cpp as lc  # noqa: E402  # after the line above

from engine.llama.log import pass_on  # noqa: E402  # likewise

__all__ = ["lc", "library"]

library: ctypes.CDLL = lc._lib
"""libllama; looking up a name also finds the functions of ggml, which it links."""


@lc.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _on_log(level: int, text: bytes | None, _user_data: int | None) -> None:
    """Receive llama.cpp's messages, which would go to stderr without a callback.

    The callback must outlive every call into the library, hence a module-level function.
    """
    pass_on(level, text or b"")


lc.llama_log_set(_on_log, ctypes.c_void_p(0))
lc.llama_backend_init()
