"""Trace which tensors llama.cpp's graph reads while an adapter is applied.

llama.cpp reports an adapter's tensors as loaded whether or not the architecture's graph multiplies
them. Its scheduler passes every node of the graph to `cb_eval` (ggml-backend.h) before computing
it, and a node holds pointers to its sources. No library function returns those, so they are read
from `struct ggml_tensor` (ggml.h), whose layout depends on ggml's version. The layout is therefore
checked first on a node with known sources; if it does not match, the result is None.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from engine.llama.adapter import LoraAdapter
from engine.llama.library import lc
from engine.llama.model import Model

_F32: Final = 0
_MAX_DIMENSIONS, _MAX_PARAMETERS, _MAX_SOURCES, _MAX_NAME_BYTES = 4, 16, 10, 64


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h as shipped in llama-cpp-python 0.3.36."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * _MAX_DIMENSIONS),
        ("nb", ctypes.c_size_t * _MAX_DIMENSIONS),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * _MAX_PARAMETERS),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * _MAX_SOURCES),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * _MAX_NAME_BYTES),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


class _Object(ctypes.Structure):
    """`struct ggml_object` of ggml-impl.h, which precedes every tensor in its context."""

    _fields_ = (
        ("offs", ctypes.c_size_t),
        ("size", ctypes.c_size_t),
        ("next", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("padding", ctypes.c_char * 4),
    )


class _InitParams(ctypes.Structure):
    """`struct ggml_init_params` of ggml.h."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


def traced_names(model: Model, adapter: LoraAdapter, *, n_threads: int) -> frozenset[str] | None:
    """Return the names of the tensors that evaluating a token reads with `adapter` at scale 1.

    They depend on the graph only, not on the token or the weights: all experts of a mixture are
    one tensor. Uses a temporary context of 16 tokens. None if the names cannot be read or the
    token cannot be evaluated.
    """
    ggml = _Ggml.of_llama()
    if ggml is None or not ggml.has_known_layout():
        return None
    watch = _Watch(ggml)
    params = lc.llama_context_default_params()
    params.n_ctx = 16
    params.n_batch = params.n_ubatch = 1
    params.n_threads = params.n_threads_batch = n_threads
    params.no_perf = True
    params.cb_eval = watch.callback
    context = lc.llama_init_from_model(model._model, params)
    if not context:
        return None
    try:
        pointers = (lc.llama_adapter_lora_p_ctypes * 1)(adapter.pointer)
        scales = (ctypes.c_float * 1)(1.0)
        if lc.llama_set_adapters_lora(context, pointers, 1, scales) != 0:
            return None
        token = (lc.llama_token * 1)(0)
        if lc.llama_decode(context, lc.llama_batch_get_one(token, 1)) != 0:
            return None
    finally:
        lc.llama_free(context)
    return watch.names()


class _Ggml:
    """The ggml functions that a trace needs."""

    def __init__(self, library: ctypes.CDLL) -> None:
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self.get_name = _function(library, "ggml_get_name", pointer, pointer)
        self._overhead = _function(library, "ggml_tensor_overhead", size)
        self._init = _function(library, "ggml_init", pointer, _InitParams)
        self._free = _function(library, "ggml_free", None, pointer)
        self._new = _function(
            library, "ggml_new_tensor_1d", pointer, pointer, ctypes.c_int, ctypes.c_int64
        )
        self._add = _function(library, "ggml_add", pointer, pointer, pointer, pointer)

    @classmethod
    def of_llama(cls) -> _Ggml | None:
        """Return the functions of the ggml that llama.cpp is linked to; None if not found.

        The dynamic linker's handle of a library also finds the symbols of its dependencies.
        """
        try:
            return cls(lc._lib)
        except AttributeError:
            return None

    def has_known_layout(self) -> bool:
        """Return whether `_Tensor` matches this library's tensors.

        Compares the size, the offset of the name, and the sources of a test node.
        """
        if self._overhead() != ctypes.sizeof(_Object) + ctypes.sizeof(_Tensor):
            return False
        memory = self._init(_InitParams(16 * self._overhead(), None, True))
        if not memory:
            return False
        try:
            left, right = self._new(memory, _F32, 1), self._new(memory, _F32, 1)
            node = self._add(memory, left, right)
            sources = list(_Tensor.from_address(node).src)
            return self.get_name(node) == node + _Tensor.name.offset and sources == [
                left,
                right,
                *[None] * (_MAX_SOURCES - 2),
            ]
        finally:
            self._free(memory)


class _Watch:
    """Collects the names of every node's sources."""

    def __init__(self, ggml: _Ggml) -> None:
        self._ggml = ggml
        self._names: set[bytes] = set()
        self._has_failed = False
        self.callback: Any = lc.ggml_backend_sched_eval_callback(self._on_node)

    def _on_node(self, node: int, _is_asked: bool, _data: int | None) -> bool:
        """Record a node's sources; return False, since its result is not needed."""
        try:
            for source in _Tensor.from_address(node).src:
                if source:
                    self._names.add(ctypes.string_at(self._ggml.get_name(source)))
        except Exception:  # called from C, so an escaping exception would only be printed
            self._has_failed = True
        return False

    def names(self) -> frozenset[str] | None:
        """Return the names seen; None if any could not be read in full."""
        names = {original_name(raw) for raw in self._names}
        return None if self._has_failed else _all_known(names)


def original_name(raw: bytes) -> str | None:
    """Return the tensor's name as in its file; None if it was truncated.

    A tensor copied to another device appears as `DEVICE#NAME#COPY` (ggml-backend.cpp), truncated
    to the maximum name length.
    """
    parts = raw.decode("utf-8", "replace").split("#")
    if len(parts) == 1:
        return parts[0]
    return parts[1] if len(raw) < _MAX_NAME_BYTES - 1 else None


def _all_known(names: set[str | None]) -> frozenset[str] | None:
    known = frozenset(name for name in names if name is not None)
    return known if len(known) == len(names) else None


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    # Use a separate function pointer: setting types on the library's attribute would change them
    # for all its users.
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    return ctypes.CFUNCTYPE(result, *arguments)(address or 0)
