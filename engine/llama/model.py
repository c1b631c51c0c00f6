"""Load a base model's weights and vocabulary."""

from __future__ import annotations

import ctypes
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from engine.disk.handle import Handle
from engine.errors import BaseError, PromptError
from engine.llama.backends import Backends, leave_out_amx
from engine.llama.cpu import reports_amx
from engine.llama.library import lc
from engine.llama.log import reasons
from engine.llama.rpc import use_hosts

NO_VOCABULARY: Final = "The base has no vocabulary, so it cannot read a prompt: use another base."


class AdapterUser(Handle):
    """A handle to which adapters of its model are applied: a context, as its model sees it."""

    @abstractmethod
    def _drop_adapter(self, adapter: Handle) -> None:
        """Stop applying `adapter`, which is about to be freed."""


class Model(Handle):
    """A base model's weights and vocabulary.

    Args:
        path: The GGUF file; the first shard of a split one.
        n_gpu_layers: Layers to keep on the GPU; negative for all, 0 for none.
        main_gpu: Index of the GPU to use.
        use_mmap: Map the file instead of reading it.
        rpc_hosts: Machines that may hold layers, each `host:port`.
        on_progress: Called with the fraction read, 0 to 1; returning False aborts the load.

    Raises:
        BaseError: llama.cpp refused the file (the text carries its reason), or a host of
            `rpc_hosts` cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_gpu_layers: int = -1,
        main_gpu: int = 0,
        use_mmap: bool = True,
        rpc_hosts: Sequence[str] = (),
        on_progress: Callable[[float], bool] | None = None,
    ) -> None:
        params = lc.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        params.main_gpu = main_gpu
        params.load_mode = lc.LLAMA_LOAD_MODE_MMAP if use_mmap else lc.LLAMA_LOAD_MODE_NONE
        if reports_amx():
            leave_out_amx()  # see reports_amx for why
        # The name keeps the list alive during the call below.
        devices = use_hosts(rpc_hosts)
        if devices is not None:
            params.devices = ctypes.addressof(devices)
        if on_progress is not None:
            report = on_progress
            # The name keeps the C callback alive during the call below.
            callback = lc.llama_progress_callback(lambda fraction, _data: report(fraction))
            params.progress_callback = callback
        reasons.clear()
        self._model: Any = lc.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise BaseError(f"cannot be loaded: {reasons.first()}.", path)
        self.path = path
        self._vocab: Any = lc.llama_model_get_vocab(self._model)
        self._contexts: list[AdapterUser] = []
        self._adapters: list[Handle] = []
        self.has_vocabulary = lc.llama_vocab_type(self._vocab) != lc.LLAMA_VOCAB_TYPE_NONE
        self.n_vocab: int = lc.llama_vocab_n_tokens(self._vocab)
        self.n_params: int = lc.llama_model_n_params(self._model)
        self.size_bytes: int = lc.llama_model_size(self._model)
        self.n_head: int = lc.llama_model_n_head(self._model)
        self.n_ctx_train: int = lc.llama_model_n_ctx_train(self._model)
        self.has_decoder: bool = lc.llama_model_has_decoder(self._model)
        # llama_supports_gpu_offload returns true for every build with RPC.
        has_gpu = any(device.is_gpu for device in Backends().devices())
        self.is_offloaded = n_gpu_layers != 0 and has_gpu
        """Whether layers are kept on a GPU or another machine."""
        self.is_recurrent: bool = lc.llama_model_is_recurrent(self._model)
        self.is_hybrid: bool = lc.llama_model_is_hybrid(self._model)
        self.n_swa: int = lc.llama_model_n_swa(self._model)  # 0: no sliding window
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
        """Return a scalar of the GGUF's metadata as text; None if the key is missing."""
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
        """Return the tokens of `text`, in which special tokens are recognised.

        `add_special` adds the special tokens that the vocabulary asks for, such as BOS.
        """
        if not self.has_vocabulary:
            raise PromptError(NO_VOCABULARY)  # llama.cpp would abort
        data = text.encode()
        capacity = len(data) + 8
        while True:
            tokens = (lc.llama_token * capacity)()
            n = lc.llama_tokenize(self._vocab, data, len(data), tokens, capacity, add_special, True)
            if n >= 0:
                return list(tokens[:n])
            capacity = -n

    def piece(self, token: int) -> bytes:
        """Return a token's bytes, which may be part of a character; empty for special tokens."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = lc.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def ends_generation(self, token: int) -> bool:
        """Return whether this token ends the model's turn."""
        return bool(lc.llama_vocab_is_eog(self._vocab, token))

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text = lc.llama_vocab_get_text(self._vocab, token)
        return text.decode("utf-8", "replace") if text else ""
