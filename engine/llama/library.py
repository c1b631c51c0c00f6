"""The low-level bindings, with llama.cpp's messages taken off stderr before the first call."""

from __future__ import annotations

import ctypes

import llama_cpp.llama_cpp as lc

from engine.llama_log import pass_on

__all__ = ["lc"]


@lc.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _on_log(level: int, text: bytes | None, _user_data: int | None) -> None:
    """Receive llama.cpp's messages, which go to stderr where no callback is set.

    The callback must outlive every call into the library, hence a module-level function.
    """
    pass_on(level, text or b"")


lc.llama_log_set(_on_log, ctypes.c_void_p(0))
lc.llama_backend_init()
