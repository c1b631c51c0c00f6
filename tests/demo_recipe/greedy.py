"""Run the shipped GGUF files in llama.cpp with greedy decoding, for the recipe's measurements.

`GreedyModel` loads a base with its adapters and decodes the most likely tokens on one thread. The
program itself uses llama.cpp through the engine; this smaller separate path keeps the report
independent of the code that it helps to check.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from engine.llama.library import lc

N_CTX = 1024
MAX_TOKENS = 96
_SPECIAL_TOKENS = 3


class GreedyModel:
    """A loaded base with its adapters; a context manager that frees both."""

    def __init__(
        self, base: Path, adapters: Mapping[str, Path], max_tokens: int = MAX_TOKENS
    ) -> None:
        """Load the files; answers end after at most ``max_tokens`` tokens.

        Raises OSError if llama.cpp cannot load a file.
        """
        self._max_tokens = max_tokens
        parameters = lc.llama_model_default_params()
        # Repacked Q8_0 weights use AMX where the processor has it, and some llama.cpp builds
        # crash there in ldtilecfg on prompts of two or more tokens.
        parameters.use_extra_bufts = False
        self._model = lc.llama_model_load_from_file(str(base).encode(), parameters)
        if not self._model:
            raise OSError(f"llama.cpp cannot load {base}")
        context = lc.llama_context_default_params()
        context.n_ctx, context.n_batch, context.n_ubatch = N_CTX, N_CTX, 512
        context.n_threads = context.n_threads_batch = 1
        self._context = lc.llama_init_from_model(self._model, context)
        self._memory = lc.llama_get_memory(self._context)
        self._vocab = lc.llama_model_get_vocab(self._model)
        self._adapters = {}
        for name, path in adapters.items():
            adapter = lc.llama_adapter_lora_init(self._model, str(path).encode())
            if not adapter:
                raise OSError(f"llama.cpp cannot load {path}")
            self._adapters[name] = adapter

    def __enter__(self) -> GreedyModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lc.llama_free(self._context)
        lc.llama_model_free(self._model)

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a text; special tokens in it are parsed."""
        data = text.encode()
        buffer = (lc.llama_token * (len(data) + 8))()
        count = lc.llama_tokenize(self._vocab, data, len(data), buffer, len(buffer), False, True)
        return list(buffer[:count])

    @contextmanager
    def stacked(self, scales: Mapping[str, float]) -> Iterator[None]:
        """Apply adapters at their scales inside the block, except those with scale 0."""
        used = {name: scale for name, scale in scales.items() if scale}
        self._set(used)
        try:
            yield
        finally:
            self._set({})

    def answer(self, turns: list[str], system: str | None = None) -> str:
        """Return the greedy answer to alternating user and assistant texts, the last a user's."""
        return self.completion(self._prompt(turns, system))

    def prompt_length(self, turns: list[str]) -> int:
        """Return the number of prompt tokens of ``answer`` for these texts."""
        return len(self._prompt(turns, None))

    def _prompt(self, turns: list[str], system: str | None) -> list[int]:
        text = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
        for index, turn in enumerate(turns):
            role = "assistant" if index % 2 else "user"
            text += f"<|im_start|>{role}\n{turn}<|im_end|>\n"
        return self.tokens(text + "<|im_start|>assistant\n")

    def completion(self, prompt: list[int]) -> str:
        """Return the greedy continuation of token ids, up to a special token or ``max_tokens``."""
        lc.llama_memory_clear(self._memory, True)
        token = self._next(prompt)
        pieces: list[bytes] = []
        while token >= _SPECIAL_TOKENS and len(pieces) < self._max_tokens:
            pieces.append(self._piece(token))
            token = self._next([token])
        return b"".join(pieces).decode(errors="replace")

    def forced(self, count: int) -> None:
        """Decode ``count`` tokens without stopping at a special token, for timing."""
        lc.llama_memory_clear(self._memory, True)
        token = self._next(self.tokens("Hello"))
        for _ in range(count):
            token = self._next([token])

    def _set(self, scales: Mapping[str, float]) -> None:
        count = len(scales)
        handles = [self._adapters[name] for name in scales]
        lc.llama_set_adapters_lora(
            self._context,
            (lc.llama_adapter_lora_p_ctypes * count)(*handles) if count else None,
            count,
            (ctypes.c_float * count)(*scales.values()) if count else None,
        )

    def _next(self, tokens: list[int]) -> int:
        buffer = (lc.llama_token * len(tokens))(*tokens)
        batch = lc.llama_batch_get_one(buffer, len(tokens))
        status = lc.llama_decode(self._context, batch)
        if status != 0:
            raise OSError(f"llama_decode failed with status {status}")
        logits = lc.llama_get_logits_ith(self._context, -1)
        count = lc.llama_vocab_n_tokens(self._vocab)
        return int(np.argmax(np.ctypeslib.as_array(logits, shape=(count,))))

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        length = lc.llama_token_to_piece(self._vocab, token, buffer, 64, 0, False)
        return buffer.raw[:length]
