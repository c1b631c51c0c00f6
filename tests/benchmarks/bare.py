"""The bare baseline: llama.cpp's own calls in a minimal loop, with layered adapters."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.llama.backends import leave_out_amx
from engine.llama.cpu import reports_amx
from engine.llama.library import lc
from engine.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class BareCost:
    """Times of one prompt and its answer."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    answer: tuple[int, ...]
    """The tokens decoded."""


class BareLoop:
    """A model, a context and loaded adapters; a context manager that frees them.

    Args:
        base: The GGUF file of the base.
        adapters: GGUF files of adapters, at most as many as are ever applied.
        like: The runtime whose context length, batch sizes, threads and attention are used, so
            that only the code around llama.cpp differs.
    """

    def __init__(self, base: Path, adapters: Sequence[Path], like: Runtime) -> None:
        model_params = lc.llama_model_default_params()
        if reports_amx():
            leave_out_amx()
        self._model: Any = lc.llama_model_load_from_file(os.fsencode(base), model_params)
        theirs = like.context
        params = lc.llama_context_default_params()
        params.n_ctx = theirs.n_ctx
        params.n_batch = theirs.n_batch
        params.n_ubatch = theirs.n_ubatch
        params.n_threads = theirs.n_threads
        params.n_threads_batch = theirs.n_threads_batch
        if theirs.uses_flash_attention is not None:
            params.flash_attn_type = int(theirs.uses_flash_attention)
        params.no_perf = True
        self._context: Any = lc.llama_init_from_model(self._model, params)
        self._adapters = [
            lc.llama_adapter_lora_init(self._model, os.fsencode(path)) for path in adapters
        ]
        if not (self._model and self._context and all(self._adapters)):
            raise RuntimeError(f"llama.cpp cannot load {base} and its adapters.")
        self._n_batch = int(params.n_batch)
        chain = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())
        lc.llama_sampler_chain_add(chain, lc.llama_sampler_init_greedy())
        self._sampler: Any = chain

    def __enter__(self) -> BareLoop:
        return self

    def __exit__(self, *_error: object) -> None:
        self.apply(0, 0.0)
        lc.llama_sampler_free(self._sampler)
        lc.llama_free(self._context)
        for adapter in self._adapters:
            lc.llama_adapter_lora_free(adapter)
        lc.llama_model_free(self._model)

    def apply(self, n: int, scale: float) -> None:
        """Apply the first `n` adapters, each at `scale`, from the next answer on."""
        pointers = (lc.llama_adapter_lora_p_ctypes * n)(*self._adapters[:n])
        scales = (ctypes.c_float * n)(*[scale] * n)
        if lc.llama_set_adapters_lora(self._context, pointers, n, scales) != 0:
            raise RuntimeError("llama.cpp refused the adapters.")

    def answer(self, tokens: Sequence[int], n_predict: int) -> BareCost:
        """Evaluate a prompt, then decode `n_predict` tokens greedily."""
        lc.llama_memory_clear(lc.llama_get_memory(self._context), True)
        started_s = time.perf_counter()
        for start in range(0, len(tokens), self._n_batch):
            self._decode(tokens[start : start + self._n_batch])
        evaluated_s = time.perf_counter()
        answer = []
        for n in range(n_predict):
            token = lc.llama_sampler_sample(self._sampler, self._context, -1)
            answer.append(token)
            if n + 1 < n_predict:
                self._decode((token,))
        ended_s = time.perf_counter()
        return BareCost(
            len(tokens) / (evaluated_s - started_s),
            n_predict / (ended_s - evaluated_s),
            tuple(answer),
        )

    def _decode(self, tokens: Sequence[int]) -> None:
        array = (lc.llama_token * len(tokens))(*tokens)
        if lc.llama_decode(self._context, lc.llama_batch_get_one(array, len(tokens))) != 0:
            raise RuntimeError("llama.cpp could not evaluate.")
