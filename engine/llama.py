"""llama.cpp behind owned handles: model, context, adapter and sampler chain.

This is the only module that imports llama_cpp. It uses the low-level calls of `llama.h`, since the
high-level class takes one adapter, turns mmap off with it and points the process's stdout and
stderr at /dev/null while it loads.

Order of release matters in llama.cpp: freeing an adapter that is still set on a context, or after
its model, is a segmentation fault. `Model.close` therefore closes its contexts, then its adapters,
then itself, and an adapter takes itself out of every context before it is freed.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lc
import numpy as np
import numpy.typing as npt

from engine.cpu import reports_amx
from engine.errors import AdapterError, BaseError, EngineError, GenerationError
from engine.handle import Handle
from engine.llama_log import pass_on, reasons


@lc.llama_log_callback  # type: ignore[untyped-decorator]  # a ctypes function type
def _on_log(level: int, text: bytes | None, _user_data: int | None) -> None:
    """Receive llama.cpp's messages, which go to stderr where no callback is set.

    The callback must outlive every call into the library, hence a module-level function.
    """
    pass_on(level, text or b"")


lc.llama_log_set(_on_log, ctypes.c_void_p(0))
lc.llama_backend_init()


class KvType(IntEnum):
    """Data type of the KV cache (ggml_type of ggml.h)."""

    F32 = 0
    F16 = 1
    Q8_0 = 8


class Model(Handle):
    """A base model's weights and vocabulary.

    Args:
        path: The GGUF file; of a split one, the first file.
        n_gpu_layers: Layers to keep on the GPU; negative for all, 0 for none.
        main_gpu: Index of the GPU that is used.
        use_mmap: Map the file instead of reading it.
        on_progress: Told the fraction read, 0 to 1; returning False gives the load up.

    Raises:
        BaseError: llama.cpp refused the file; the text carries its reason.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_gpu_layers: int = -1,
        main_gpu: int = 0,
        use_mmap: bool = True,
        on_progress: Callable[[float], bool] | None = None,
    ) -> None:
        params = lc.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        params.main_gpu = main_gpu
        params.load_mode = lc.LLAMA_LOAD_MODE_MMAP if use_mmap else lc.LLAMA_LOAD_MODE_NONE
        # Repacked weight buffers are where llama.cpp uses AMX; see reports_amx for why not there.
        params.use_extra_bufts = not reports_amx()
        if on_progress is not None:
            report = on_progress
            # The name keeps the C callback alive during the call below.
            callback = lc.llama_progress_callback(lambda fraction, _data: report(fraction))
            params.progress_callback = callback
        reasons.clear()
        self._model: Any = lc.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise BaseError(f"{path} cannot be loaded: {reasons.first()}.")
        self.path = path
        self._vocab: Any = lc.llama_model_get_vocab(self._model)
        self._contexts: list[Context] = []
        self._adapters: list[LoraAdapter] = []
        self.n_vocab: int = lc.llama_vocab_n_tokens(self._vocab)
        self.n_params: int = lc.llama_model_n_params(self._model)
        self.size_bytes: int = lc.llama_model_size(self._model)
        self.n_ctx_train: int = lc.llama_model_n_ctx_train(self._model)
        self.has_decoder: bool = lc.llama_model_has_decoder(self._model)
        self.adds_bos: bool = lc.llama_vocab_get_add_bos(self._vocab)
        self.bos_text = self._token_text(lc.llama_vocab_bos(self._vocab))
        self.eos_text = self._token_text(lc.llama_vocab_eos(self._vocab))

    def _free(self) -> None:
        for context in list(self._contexts):
            context.close()
        for adapter in list(self._adapters):
            adapter.close()
        lc.llama_model_free(self._model)

    @property
    def description(self) -> str:
        """llama.cpp's short description, for example `llama 3B Q8_0`."""
        buffer = ctypes.create_string_buffer(256)
        lc.llama_model_desc(self._model, buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace")

    @property
    def chat_template(self) -> str | None:
        """The GGUF's Jinja chat template, if it has one."""
        template = lc.llama_model_chat_template(self._model, None)
        return template.decode("utf-8", "replace") if template else None

    def metadata(self, key: str) -> str | None:
        """Return a scalar of the GGUF's metadata as text, or None."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lc.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the tokens of `text`; special tokens written in it are recognised.

        `add_special` puts the BOS token before it where the vocabulary asks for one.
        """
        data = text.encode()
        capacity = len(data) + 8
        while True:
            tokens = (lc.llama_token * capacity)()
            n = lc.llama_tokenize(self._vocab, data, len(data), tokens, capacity, add_special, True)
            if n >= 0:
                return list(tokens[:n])
            capacity = -n

    def piece(self, token: int) -> bytes:
        """Return the bytes a token stands for, perhaps a part of a character; none if special."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = lc.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def ends_generation(self, token: int) -> bool:
        """Whether the model ends its turn with this token."""
        return bool(lc.llama_vocab_is_eog(self._vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text = lc.llama_vocab_get_text(self._vocab, token)
        return text.decode("utf-8", "replace") if text else ""


class LoraAdapter(Handle):
    """An adapter loaded for one model.

    llama.cpp does not survive every malformed file: pass only files that
    `engine.adapters.check` found to fit.

    Raises:
        AdapterError: llama.cpp refused the file; the text carries its reason.
    """

    def __init__(self, model: Model, path: Path) -> None:
        reasons.clear()
        # A failure gives a NULL pointer object, which is not None but false.
        self.pointer: Any = lc.llama_adapter_lora_init(model._model, os.fsencode(path))
        if not self.pointer:
            raise AdapterError(f"{path} cannot be loaded as an adapter: {reasons.first()}.")
        self.path = path
        self._model = model
        model._adapters.append(self)

    def _free(self) -> None:
        for context in self._model._contexts:
            context._drop_adapter(self)
        self._model._adapters.remove(self)
        lc.llama_adapter_lora_free(self.pointer)


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


class SamplerChain(Handle):
    """A chain of llama.cpp samplers that ends in a choice; order is the order of the calls."""

    def __init__(self) -> None:
        self._chain: Any = lc.llama_sampler_chain_init(lc.llama_sampler_chain_default_params())

    def _free(self) -> None:
        lc.llama_sampler_free(self._chain)

    def add_penalties(
        self, n_vocab: int, last_n: int, repeat: float, frequency: float, presence: float
    ) -> None:
        """Lower tokens that occur among the last `last_n`."""
        self._add(lc.llama_sampler_init_penalties(n_vocab, last_n, repeat, frequency, presence))

    def add_top_k(self, k: int) -> None:
        """Keep the `k` likeliest tokens."""
        self._add(lc.llama_sampler_init_top_k(k))

    def add_typical(self, p: float) -> None:
        """Keep locally typical tokens up to a probability of `p` (arXiv:2202.00666)."""
        self._add(lc.llama_sampler_init_typical(p, 1))

    def add_top_p(self, p: float) -> None:
        """Keep the likeliest tokens up to a probability of `p` (arXiv:1904.09751)."""
        self._add(lc.llama_sampler_init_top_p(p, 1))

    def add_min_p(self, p: float) -> None:
        """Keep tokens at least `p` times as likely as the likeliest."""
        self._add(lc.llama_sampler_init_min_p(p, 1))

    def add_temperature(self, temperature: float) -> None:
        """Divide the logits by `temperature`."""
        self._add(lc.llama_sampler_init_temp(temperature))

    def add_greedy(self) -> None:
        """Choose the likeliest token."""
        self._add(lc.llama_sampler_init_greedy())

    def add_draw(self, seed: int) -> None:
        """Draw a token with a generator seeded by `seed`, 0 to 2**32 - 1."""
        self._add(lc.llama_sampler_init_dist(seed))

    def accept(self, token: int) -> None:
        """Count a token that was not sampled here, for the penalties."""
        lc.llama_sampler_accept(self._chain, token)

    def sample(self, context: Context) -> int:
        """Return and accept a token drawn from the last logits of `context`."""
        return int(lc.llama_sampler_sample(self._chain, context._context, -1))

    def _add(self, sampler: Any) -> None:
        lc.llama_sampler_chain_add(self._chain, sampler)  # the chain owns it from here on
