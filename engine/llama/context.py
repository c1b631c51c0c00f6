"""Wrap a llama.cpp context, which evaluates one sequence and holds its KV cache."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.disk.handle import Handle
from engine.errors import EngineError, GenerationError
from engine.gguf.ggml_type import GgmlType
from engine.llama.adapter import LoraAdapter
from engine.llama.library import lc
from engine.llama.log import reasons
from engine.llama.model import AdapterUser, Model

_ABORTED = 2
"""Return code of llama_decode after the abort callback returned true."""
_NO_CALLBACK = lc.ggml_abort_callback()


class KvType(IntEnum):
    """Data type of the KV cache: those of `GgmlType` that llama.cpp accepts."""

    F32 = GgmlType.F32
    F16 = GgmlType.F16
    Q4_0 = GgmlType.Q4_0
    Q4_1 = GgmlType.Q4_1
    Q5_0 = GgmlType.Q5_0
    Q5_1 = GgmlType.Q5_1
    Q8_0 = GgmlType.Q8_0
    IQ4_NL = GgmlType.IQ4_NL
    BF16 = GgmlType.BF16

    @property
    def is_quantised(self) -> bool:
        """Whether values are stored in blocks with a common scale."""
        return GgmlType(self).block_length > 1


class Context(AdapterUser):
    """Evaluates tokens of one sequence; holds the KV cache.

    Args:
        n_ctx: Context length in tokens.
        n_batch: Most tokens of one `decode` call.
        n_ubatch: Tokens computed at once, at most `n_batch`; None for `n_batch`.
        n_threads: CPU threads.
        n_threads_batch: CPU threads for two or more tokens; None for `n_threads`.
        kv_type: Data type of the KV cache, keys and values alike.
        uses_flash_attention: None lets llama.cpp choose.

    Raises:
        EngineError: The context cannot be created: memory is short, the base's heads do not fit
            `kv_type`, or a quantised cache is requested without flash attention.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int,
        n_threads: int,
        n_ubatch: int | None = None,
        n_threads_batch: int | None = None,
        kv_type: KvType = KvType.F16,
        uses_flash_attention: bool | None = None,
    ) -> None:
        if kv_type.is_quantised and uses_flash_attention is False:
            raise EngineError(
                f"kv_cache_type {kv_type.name.lower()} needs flash_attention: leave flash_attention"
                " unset or true, or take kv_cache_type f16, bf16 or f32."
            )
        params = lc.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = n_batch
        params.n_ubatch = n_ubatch or n_batch
        params.n_threads = n_threads
        params.n_threads_batch = n_threads_batch or n_threads
        params.type_k = params.type_v = int(kv_type)
        params.flash_attn_type = (
            lc.LLAMA_FLASH_ATTN_TYPE_AUTO
            if uses_flash_attention is None
            else int(uses_flash_attention)
        )
        # A sliding-window cache that drops old tokens cannot be cut back to a shorter prefix.
        params.swa_full = True
        params.no_perf = True
        reasons.clear()
        self._context: Any = lc.llama_init_from_model(model._model, params)
        if not self._context:
            raise EngineError(
                f"A context of {n_ctx} tokens cannot be made: {reasons.first()}. {_advice(kv_type)}"
            )
        self._model = model
        self.uses_flash_attention = uses_flash_attention
        self._memory: Any = lc.llama_get_memory(self._context)
        self._adapters: tuple[tuple[LoraAdapter, float], ...] = ()
        self.interrupts: Callable[[], bool] | None = None
        """Called after each operation of a `decode` of several tokens; True interrupts it."""
        # The name keeps the C callback alive.
        self._on_abort = lc.ggml_abort_callback(self._is_interrupted)
        self.n_ctx: int = lc.llama_n_ctx(self._context)
        # llama.cpp lowers n_batch to the context length, and aborts on batches over the result.
        self.n_batch: int = lc.llama_n_batch(self._context)
        self.n_ubatch: int = lc.llama_n_ubatch(self._context)
        self.n_threads: int = lc.llama_n_threads(self._context)
        self.n_threads_batch: int = lc.llama_n_threads_batch(self._context)
        model._contexts.append(self)

    def _free(self) -> None:
        self._model._contexts.remove(self)
        lc.llama_free(self._context)

    def set_adapters(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> None:
        """Apply exactly these adapters with these scales from the next `decode` on.

        The KV cache is not touched: its entries were computed under the previous adapters. Raises
        `EngineError` if llama.cpp refuses.
        """
        n = len(adapters)
        pointers = (lc.llama_adapter_lora_p_ctypes * n)(*[a.pointer for a, _ in adapters])
        scales = (ctypes.c_float * n)(*[scale for _, scale in adapters])
        if lc.llama_set_adapters_lora(self._context, pointers, n, scales) != 0:
            raise EngineError("llama.cpp refused the stack of adapters.")
        self._adapters = tuple(adapters)

    def _drop_adapter(self, adapter: Handle) -> None:
        if any(a is adapter for a, _ in self._adapters):
            self.set_adapters([(a, scale) for a, scale in self._adapters if a is not adapter])

    def decode(self, tokens: Sequence[int]) -> bool:
        """Evaluate at most `n_batch` tokens after those in the KV cache.

        Returns False if `interrupts` stopped it: the KV cache is then as before, and there are no
        logits. Recurrent and hybrid models cannot go back and are never interrupted.

        Raises:
            GenerationError: No room in the context, or a failure inside llama.cpp.
        """
        array = self._array(tokens)
        return self._run(lc.llama_batch_get_one(array, len(tokens)))

    def evaluate(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Evaluate tokens like `decode` and return the logits after each of them.

        The result is a copy of shape (n_tokens, n_vocab), float32. Unlike `logits`, this computes
        the output matrix for every token. It is not interrupted. Raises `GenerationError` like
        `decode`.
        """
        n = len(tokens)
        array = self._array(tokens)
        batch = lc.llama_batch_get_one(array, n)
        # The name keeps the flags alive during the call below.
        flags = (ctypes.c_int8 * n)(*[1] * n)
        batch.logits = flags
        self._run(batch, can_interrupt=False)
        pointer = lc.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, shape=(n, self._model.n_vocab)).copy()

    def _array(self, tokens: Sequence[int]) -> Any:
        """Return tokens as an array of C; raise `GenerationError` where llama.cpp would abort."""
        if not 0 < len(tokens) <= self.n_batch:
            raise GenerationError(
                f"{len(tokens)} tokens cannot be evaluated at once: at least 1, at most "
                f"{self.n_batch}."
            )
        if not all(0 <= token < self._model.n_vocab for token in tokens):
            raise GenerationError(f"The vocabulary has tokens from 0 to {self._model.n_vocab - 1}.")
        return (lc.llama_token * len(tokens))(*tokens)

    def _run(self, batch: Any, *, can_interrupt: bool = True) -> bool:
        """Evaluate a batch; return False if it was interrupted and undone."""
        reasons.clear()
        if can_interrupt and batch.n_tokens > 1 and self.interrupts is not None and self.can_cut:
            # Not for single tokens, which end soon anyway: with 30 layers llama.cpp calls back 515
            # times. A chunk of 128 tokens took as long as without the callback (0.995, median of
            # 25) and ended within 13 ms of the interrupt, on a 1B base within 140 ms.
            n_before = lc.llama_memory_seq_pos_max(self._memory, 0) + 1
            lc.llama_set_abort_callback(self._context, self._on_abort, None)
            try:
                code = lc.llama_decode(self._context, batch)
            finally:
                lc.llama_set_abort_callback(self._context, _NO_CALLBACK, None)
            if code == _ABORTED and self.truncate(n_before):
                return False
        else:
            code = lc.llama_decode(self._context, batch)
        if code == 1:
            raise GenerationError(f"The context of {self.n_ctx} tokens is full.")
        if code != 0:
            reason = reasons.first(f"code {code}")
            raise GenerationError(f"llama.cpp could not evaluate the prompt: {reason}.")
        return True

    def _is_interrupted(self, _data: int | None) -> bool:
        return self.interrupts is not None and self.interrupts()

    def logits(self) -> npt.NDArray[np.float32]:
        """Return the logits after the last token: a copy of shape (n_vocab,), float32."""
        pointer = lc.llama_get_logits_ith(self._context, -1)
        if not pointer:
            raise GenerationError("There are no logits before a token has been evaluated.")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,)).copy()

    def clear(self) -> None:
        """Empty the KV cache."""
        lc.llama_memory_clear(self._memory, True)

    @property
    def can_cut(self) -> bool:
        """Whether the KV cache can be cut; recurrent and hybrid models keep one state for all."""
        return not (self._model.is_recurrent or self._model.is_hybrid)

    def n_least_restored(self, n_tokens: int) -> int:
        """Return the shortest length that a restored state of `n_tokens` can be cut to.

        With a sliding window, llama.cpp saves only the entries that the last token sees
        (`is_masked_swa` in `llama_kv_cache::state_write`), even if the context keeps more. They
        suffice for evaluating another token in place of the last one. A deeper cut would need
        entries that were not saved, unless the window has not begun to slide.
        """
        if not self.can_cut:
            return n_tokens
        return 0 if n_tokens <= self._model.n_swa or self._model.n_swa == 0 else n_tokens - 1

    def truncate(self, n_tokens: int) -> bool:
        """Cut the KV cache to the first `n_tokens`; return False if llama.cpp cannot do that."""
        return self.can_cut and bool(lc.llama_memory_seq_rm(self._memory, 0, n_tokens, -1))

    def state_size_bytes(self) -> int:
        """Return the size of the state that `save_state` would return now."""
        return int(lc.llama_state_seq_get_size(self._context, 0))

    def save_state(self) -> npt.NDArray[np.uint8] | None:
        """Return the state of the KV cache, shape (n,), uint8; None if llama.cpp fails."""
        data = np.empty(self.state_size_bytes(), dtype=np.uint8)
        n_written = lc.llama_state_seq_get_data(self._context, _bytes_of(data), data.size, 0)
        return data if n_written == data.size else None

    def load_state(self, data: npt.NDArray[np.uint8]) -> bool:
        """Replace the state by one from `save_state`; on a failure clear it and return False.

        The bytes must come from `save_state` of a context with the same model and settings:
        llama.cpp checks sizes and types, not contents.
        """
        n_read = lc.llama_state_seq_set_data(self._context, _bytes_of(data), data.size, 0)
        if n_read == 0 or n_read != data.size:
            self.clear()  # a part of it may have been loaded
            return False
        return True


def _bytes_of(data: npt.NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


def _advice(kv_type: KvType) -> str:
    """Return advice that fits llama.cpp's latest error."""
    if reasons.has("cache type", "Flash Attention"):
        # llama.cpp quantises blocks of 32 values, and head sizes must be a multiple of that.
        return (
            f"kv_cache_type {kv_type.name.lower()} does not suit this base; f16, bf16 and f32 do."
        )
    return "A smaller num_ctx or num_ubatch needs less memory."
