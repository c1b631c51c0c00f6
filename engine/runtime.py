"""A loaded base with the adapters it has met and the stack now in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from engine.adapters.check import require_fit
from engine.adapters.read import require_base, require_same
from engine.cpu import default_threads
from engine.errors import BaseError
from engine.kv import KvCache
from engine.llama import Context, KvType, LoraAdapter, Model
from engine.protocol import BaseInfo, LoadSpec
from engine.stack import AdapterStack, StackEntry
from modelfiles.parameters import Parameters

DEFAULT_N_CTX = 4096
PREFILL_CHUNK = 128
"""Prompt tokens evaluated between two looks at whether to cancel, unless num_batch is set."""
MAX_THREADS = 512
"""llama.cpp aborts on more (GGML_MAX_N_THREADS of ggml.h)."""


class Runtime:
    """One base, one context, the adapters of the stack and the KV cache.

    Args:
        spec: The base and the load-time parameters.
        on_progress: Told the fraction read; returning False gives the load up.
        kv_type: Data type of the KV cache.
        uses_flash_attention: None lets llama.cpp choose.

    Raises:
        GgufError: The file is missing or no GGUF file.
        BaseError: It is no base that llama.cpp can load.
        EngineError: No context of that length can be made.
    """

    def __init__(
        self,
        spec: LoadSpec,
        *,
        on_progress: Callable[[float], bool] | None = None,
        kv_type: KvType = KvType.F16,
        uses_flash_attention: bool | None = None,
    ) -> None:
        started = time.perf_counter()
        parameters = spec.parameters
        path = Path(spec.base)
        self._header = require_base(path)
        self.model = Model(
            path,
            n_gpu_layers=-1 if parameters.num_gpu is None else parameters.num_gpu,
            main_gpu=parameters.main_gpu or 0,
            use_mmap=parameters.use_mmap is not False,
            on_progress=on_progress,
        )
        try:
            if not self.model.has_decoder:
                raise BaseError(f"{path} cannot generate text: it has no decoder.")
            n_threads = min(max(parameters.num_thread or 0, 0) or default_threads(), MAX_THREADS)
            self.context = Context(
                self.model,
                n_ctx=_context_length(parameters, self.model.n_ctx_train),
                n_batch=max(1, parameters.num_batch or PREFILL_CHUNK),
                n_threads=n_threads,
                kv_type=kv_type,
                uses_flash_attention=uses_flash_attention,
            )
        except BaseException:
            self.model.close()
            raise
        self.kv = KvCache(self.context)
        self.stack = AdapterStack()
        self._loaded: dict[str, LoraAdapter] = {}
        self.info = BaseInfo(
            name=self.model.metadata("general.name") or path.stem,
            architecture=self.model.metadata("general.architecture") or "",
            description=_description(self.model),
            n_params=self.model.n_params,
            size_bytes=self.model.size_bytes,
            n_ctx=self.context.n_ctx,
            n_ctx_train=self.model.n_ctx_train,
            n_threads=n_threads,
            load_s=time.perf_counter() - started,
            has_chat_template=self.model.chat_template is not None,
            notices=_notices(parameters, self.context.n_ctx),
        )

    def set_stack(self, stack: AdapterStack) -> None:
        """Put `stack` in force for every evaluation from here on.

        An adapter stays loaded while it is in the stack, also when it is off, so that switching
        it on again costs nothing.

        Raises:
            GgufError: An adapter's file is missing or no GGUF file.
            AdapterError: An adapter does not fit the base, or its file has changed since it was
                read. Either way the stack before stays in force.
        """
        added: dict[str, LoraAdapter] = {}
        try:
            for entry in stack.entries:
                sha256 = entry.adapter.sha256
                if sha256 not in self._loaded and sha256 not in added:
                    added[sha256] = self._load(entry)
        except BaseException:
            for adapter in added.values():
                adapter.close()
            raise
        self._loaded |= added
        effective = stack.effective
        self.context.set_adapters([(self._loaded[key], effective[key]) for key in effective])
        for sha256 in set(self._loaded) - {entry.adapter.sha256 for entry in stack.entries}:
            self._loaded.pop(sha256).close()
        self.stack = stack

    def prefill(self, tokens: Sequence[int]) -> Iterator[int]:
        """Evaluate a prompt in chunks under the stack in force.

        Yields how many of `tokens` are in the KV cache: first what could be reused, then after
        each chunk. Between two yields the caller may stop.

        Raises:
            GenerationError: A failure inside llama.cpp; the KV cache is then empty.
        """
        n_done = self.kv.prepare(tokens, self.stack.digest)
        yield n_done
        while n_done < len(tokens):
            chunk = tokens[n_done : n_done + self.context.n_batch]
            self.kv.decode(chunk)
            n_done += len(chunk)
            yield n_done

    def _load(self, entry: StackEntry) -> LoraAdapter:
        require_fit(entry.adapter.file, self._header)
        require_same(entry.adapter)
        return LoraAdapter(self.model, entry.adapter.file)

    def close(self) -> None:
        """Free everything, in the order llama.cpp needs."""
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _description(model: Model) -> str:
    """Return llama.cpp's description with the size it could not name: `llama 2.9M Q8_0`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if model.n_params >= limit:
            number = model.n_params / limit
            size = f"{number:.0f}{unit}" if number >= 10 else f"{number:.1f}{unit}"
            break
    else:
        size = str(model.n_params)
    words = [word for word in model.description.split() if word not in ("(guessed)", "all")]
    return " ".join(size if word == "?B" else word for word in words)


def _notices(parameters: Parameters, n_ctx: int) -> tuple[str, ...]:
    wanted = parameters.num_ctx or 0
    if wanted <= n_ctx:
        return ()
    return (f"num_ctx {wanted} is more than the base was trained for: {n_ctx} is used.",)


def _context_length(parameters: Parameters, n_ctx_train: int) -> int:
    """Return num_ctx, at most what the base was trained with; unset, at most 4096."""
    wanted = parameters.num_ctx or DEFAULT_N_CTX
    return min(wanted, n_ctx_train) if n_ctx_train > 0 else wanted
