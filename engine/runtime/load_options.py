"""Choose the context options that the load parameters leave unset, for this base and machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from engine.errors import BaseError
from engine.llama.context import KvType
from engine.llama.cpu import default_threads
from engine.llama.model import Model
from modelfiles.errors import ParameterError
from modelfiles.parameters import KV_CACHE_TYPES, Parameters, rpc_hosts

DEFAULT_N_CTX = 4096
PREFILL_CHUNK = 128
"""Prompt tokens of one `decode` on the CPU, unless num_batch is set; progress is reported after
each. Prefill speed relative to chunks of 512, and the time of a chunk, with 2 threads and no
adapter (medians of 5; with 1 and 4 adapters within 0.07):

    tokens                   16     32     64    128    256
    100M, 30 layers x 576  0.34   0.36   0.87   0.96   1.00   226 ms at 128
    1B, 16 layers x 2048      -   0.75   0.99   1.02   1.00   771 ms at 64, 1,536 ms at 128

Below 64, llama.cpp's flash attention takes its slow path (GGML_FA_TILE_Q of ggml-cpu/common.h)."""
LARGE_PREFILL_CHUNK = 64
LARGE_PARAMS = 500_000_000
"""Parameter count from which the smaller chunk costs no speed and the larger takes over 1 s."""
OFFLOADED_PREFILL_CHUNK = 512
"""Chunk with layers on a GPU or another machine: llama.cpp's default n_ubatch."""
MAX_THREADS = 512
"""llama.cpp aborts with more threads (GGML_MAX_N_THREADS of ggml.h)."""
MAX_SCORES_BYTES = 2**28
"""Most memory for attention scores, which without flash attention are held for a whole chunk."""


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """Options of a context, named like the arguments of `engine.llama.Context`."""

    n_ctx: int
    n_batch: int
    n_ubatch: int | None
    n_threads: int
    n_threads_batch: int
    kv_type: KvType
    uses_flash_attention: bool | None

    @classmethod
    def of(cls, parameters: Parameters, model: Model) -> Self:
        """Return the options of `parameters`, with defaults for `model` where they are unset.

        Raises:
            BaseError: `kv_cache_type` is not a KV cache type.
        """
        n_ctx = _context_length(parameters, model.n_ctx_train)
        n_batch = _batch(parameters, model)
        kv_type = kv_type_of(parameters)
        uses_flash_attention = parameters.flash_attention
        if uses_flash_attention is None and not kv_type.is_quantised and not model.is_offloaded:
            n_ubatch = min(parameters.num_ubatch or n_batch, n_batch)
            uses_flash_attention = default_flash_attention(model.n_head, n_ctx, n_ubatch)
        return cls(
            n_ctx=n_ctx,
            n_batch=n_batch,
            n_ubatch=parameters.num_ubatch,
            n_threads=_threads(parameters.num_thread) or default_threads(),
            n_threads_batch=_threads(parameters.num_thread_batch),
            kv_type=kv_type,
            uses_flash_attention=uses_flash_attention,
        )


def default_flash_attention(n_head: int, n_ctx: int, n_ubatch: int) -> bool | None:
    """Return False to disable flash attention on the CPU; None leaves the choice to llama.cpp.

    On the CPU flash attention slows decoding down, the more the longer the context, and rounds
    intermediate values to F16; it is left possible only if the scores would exceed
    `MAX_SCORES_BYTES`. Milliseconds per token with / without it, 2 threads, medians of 3 (prefill
    within 10 %):

        tokens in the context         256         1,024          3,072
        100M, 30 layers x 576   20.3 / 14.7   30.3 / 17.3    57.1 / 24.0
        1B, 16 layers x 2048    75.9 / 68.0   96.3 / 72.9              -
    """
    return False if 4 * n_head * n_ctx * n_ubatch <= MAX_SCORES_BYTES else None


def default_chunk(n_params: int, *, is_offloaded: bool) -> int:
    """Return the prompt tokens of one `decode` if num_batch is not set."""
    if is_offloaded:
        return OFFLOADED_PREFILL_CHUNK
    return LARGE_PREFILL_CHUNK if n_params >= LARGE_PARAMS else PREFILL_CHUNK


def _batch(parameters: Parameters, model: Model) -> int:
    """Return num_batch; if unset, the larger of the base's default and num_ubatch."""
    chunk = default_chunk(model.n_params, is_offloaded=model.is_offloaded)
    return max(1, parameters.num_batch or max(chunk, parameters.num_ubatch or 0))


def _threads(wanted: int | None) -> int:
    """Return a number of threads that llama.cpp can start; 0 if unset or not positive."""
    return min(max(wanted or 0, 0), MAX_THREADS)


def kv_type_of(parameters: Parameters) -> KvType:
    name = parameters.kv_cache_type or "f16"
    try:
        return KvType[name.upper()]
    except KeyError:
        known = ", ".join(KV_CACHE_TYPES)
        raise BaseError(f"kv_cache_type must be one of {known}, not {name!r}.") from None


def rpc_hosts_of(parameters: Parameters) -> tuple[str, ...]:
    try:
        return rpc_hosts(parameters.rpc_hosts)
    except ParameterError as error:
        raise BaseError(f"{error}.") from None


def _context_length(parameters: Parameters, n_ctx_train: int) -> int:
    """Return num_ctx, or 4096 if unset, limited to the base's training context."""
    wanted = parameters.num_ctx or DEFAULT_N_CTX
    return min(wanted, n_ctx_train) if n_ctx_train > 0 else wanted
