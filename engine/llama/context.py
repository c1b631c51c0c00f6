"""A context: evaluates the tokens of one sequence and holds its KV cache."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import EngineError, GenerationError
from engine.handle import Handle
from engine.llama.adapter import LoraAdapter
from engine.llama.library import lc
from engine.llama.model import Model
from engine.llama_log import reasons


class KvType(IntEnum):
    """Data type of the KV cache (ggml_type of ggml.h)."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


class Context(Handle):
    """Evaluates tokens of one sequence; holds the KV cache.

    Args:
        n_ctx: Context length in tokens.
        n_batch: Most tokens of one `decode` call.
        n_threads: CPU threads.
        kv_type: Data type of the KV cache.
        uses_flash_attention: None lets llama.cpp choose.

    Raises:
        EngineError: The context cannot be made, most often for lack of memory.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int,
        n_threads: int,
        kv_type: KvType = KvType.F16,
        uses_flash_attention: bool | None = None,
    ) -> None:
        params = lc.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = int(kv_type)
        params.flash_attn_type = (
            lc.LLAMA_FLASH_ATTN_TYPE_AUTO
            if uses_flash_attention is None
            else int(uses_flash_attention)
        )
        # A sliding-window cache that forgets cannot be cut back to a shorter prefix.
        params.swa_full = True
        params.no_perf = True
        reasons.clear()
        self._context: Any = lc.llama_init_from_model(model._model, params)
        if not self._context:
            raise EngineError(
                f"A context of {n_ctx} tokens cannot be made for {model.path.name}: "
                f"{reasons.first()}. "
                "A smaller num_ctx needs less memory."
            )
        self._model = model
        self._memory: Any = lc.llama_get_memory(self._context)
        self._adapters: tuple[tuple[LoraAdapter, float], ...] = ()
        self.n_ctx: int = lc.llama_n_ctx(self._context)
        # llama.cpp lowers it to the context length, and aborts on a larger batch than it then has.
        self.n_batch: int = lc.llama_n_batch(self._context)
        model._contexts.append(self)

    def _free(self) -> None:
        self._model._contexts.remove(self)
        lc.llama_free(self._context)

    def set_adapters(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> None:
        """Apply exactly these adapters with these scales from the next `decode` on.

        The KV cache is not touched: what it holds was computed under the adapters before.
        """
        n = len(adapters)
        pointers = (lc.llama_adapter_lora_p_ctypes * n)(*[a.pointer for a, _ in adapters])
        scales = (ctypes.c_float * n)(*[scale for _, scale in adapters])
        if lc.llama_set_adapters_lora(self._context, pointers, n, scales) != 0:
            raise EngineError("llama.cpp refused the stack of adapters.")
        self._adapters = tuple(adapters)

    def _drop_adapter(self, adapter: LoraAdapter) -> None:
        if any(a is adapter for a, _ in self._adapters):
            self.set_adapters([(a, scale) for a, scale in self._adapters if a is not adapter])

    def decode(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after those in the KV cache; at most `n_batch` of them.

        Raises:
            GenerationError: No room in the context, or a failure inside llama.cpp.
        """
        array = (lc.llama_token * len(tokens))(*tokens)
        reasons.clear()
        code = lc.llama_decode(self._context, lc.llama_batch_get_one(array, len(tokens)))
        if code == 1:
            raise GenerationError(f"The context of {self.n_ctx} tokens is full.")
        if code != 0:
            reason = reasons.first(f"code {code}")
            raise GenerationError(f"llama.cpp could not evaluate the prompt: {reason}.")

    def logits(self) -> npt.NDArray[np.float32]:
        """Return the logits after the last token: shape (n_vocab,), float32, a copy."""
        pointer = lc.llama_get_logits_ith(self._context, -1)
        if not pointer:
            raise GenerationError("There are no logits before a token has been evaluated.")
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,)).copy()

    def clear(self) -> None:
        """Empty the KV cache."""
        lc.llama_memory_clear(self._memory, True)

    def truncate(self, n_tokens: int) -> bool:
        """Keep the first `n_tokens` in the KV cache; False if this kind of model cannot.

        Recurrent and hybrid models hold one state instead of one entry a token.
        """
        return bool(lc.llama_memory_seq_rm(self._memory, 0, n_tokens, -1))
