"""Load-time parameters reach llama.cpp, and what it cannot do is refused in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import modelfiles
from engine.errors import BaseError, EngineError
from engine.llama.backends import Backends, Device, DeviceKind
from engine.llama.library import lc
from engine.llama.log import pass_on
from engine.protocol.values import BaseReference, LoadSpec
from engine.runtime.load_options import (
    OFFLOADED_PREFILL_CHUNK,
    PREFILL_CHUNK,
    default_chunk,
    default_flash_attention,
)
from engine.runtime.runtime import Runtime
from modelfiles.parameters import KV_CACHE_TYPES, Parameters
from tests.engine.conftest import Tiny

# Its heads have 32 values, the fewest that a quantised KV cache takes.
DEMO = Path(modelfiles.__file__).parent / "demo" / "base.gguf"
PROMPT = [int(token) for token in np.random.default_rng(0).integers(20, 2000, 200)]


def demo(**parameters: object) -> Runtime:
    values = {"num_thread": 1, "num_ctx": 256, **parameters}
    return Runtime(LoadSpec(BaseReference(str(DEMO)), Parameters(**values)))


def logits(runtime: Runtime, tokens: Sequence[int] = PROMPT) -> NDArray[np.float32]:
    for _ in runtime.prefill(tokens):
        pass
    return runtime.context.logits()


def distance(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.abs(left - right).max())


def test_fewer_bits_in_the_kv_cache_are_further_from_all_of_them() -> None:
    def of(kv_type: str, *, flash_attention: bool = True) -> NDArray[np.float32]:
        with demo(kv_cache_type=kv_type, flash_attention=flash_attention) as runtime:
            return logits(runtime)

    # Flash attention rounds an f32 cache to f16 on the way, so it cannot be the measure.
    exact = of("f32", flash_attention=False)
    f16, q8_0, q4_0 = (distance(of(name), exact) for name in ("f16", "q8_0", "q4_0"))
    assert 0 < f16 < q8_0 < q4_0
    assert 0 < distance(of("f16", flash_attention=False), exact) < q8_0


def test_keys_and_values_are_both_kept_in_the_type() -> None:
    def size_bytes(kv_type: str) -> int:
        with demo(kv_cache_type=kv_type) as runtime:
            logits(runtime)
            return runtime.context.state_size_bytes()

    f32, f16, q8_0 = (size_bytes(name) for name in ("f32", "f16", "q8_0"))
    assert f16 / f32 == pytest.approx(1 / 2, rel=0.01)
    # 32 values of a byte and their scale of two bytes.
    assert q8_0 / f16 == pytest.approx(34 / 64, rel=0.01)


@pytest.mark.parametrize("kv_type", KV_CACHE_TYPES)
def test_every_kv_cache_type_can_be_evaluated(kv_type: str) -> None:
    with demo(kv_cache_type=kv_type) as runtime:
        assert np.isfinite(logits(runtime)).all()


def test_flash_attention_is_switched_on_and_off() -> None:
    with demo(flash_attention=True) as with_it, demo(flash_attention=False) as without:
        left, right = logits(with_it), logits(without)
    # The same sums, rounded elsewhere.
    assert 0 < distance(left, right) < 0.05 * float(np.ptp(left))


def test_a_quantised_kv_cache_without_flash_attention_is_refused() -> None:
    with pytest.raises(EngineError, match=r"kv_cache_type q8_0 needs flash_attention"):
        demo(kv_cache_type="q8_0", flash_attention=False)


def test_a_kv_cache_type_that_does_not_suit_the_heads_carries_llama_cpps_reason(
    tiny: Tiny,
) -> None:
    with pytest.raises(EngineError) as raised:
        Runtime(tiny.spec(kv_cache_type="q8_0"))
    assert "block size 32 does not divide n_embd_head_k=16" in str(raised.value)
    assert "kv_cache_type q8_0 does not suit this base; f16, bf16 and f32 do." in str(raised.value)
    assert "num_ctx" not in str(raised.value)


def test_a_context_beyond_memory_names_what_needs_less(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        pass_on(4, b"llama_init_from_model: failed to allocate buffer for kv cache")

    monkeypatch.setattr(lc, "llama_init_from_model", refuse)
    reason = "failed to allocate buffer for kv cache. A smaller num_ctx or num_ubatch needs less"
    with pytest.raises(EngineError, match=reason):
        Runtime(tiny.spec(kv_cache_type="f32"))


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"kv_cache_type": "q3"}, "kv_cache_type must be one of f32, f16"),
        ({"rpc_hosts": "nowhere"}, "rpc_hosts takes HOST:PORT"),
    ],
)
def test_values_that_no_modelfile_gave_are_refused_too(
    tiny: Tiny, parameters: dict[str, object], reason: str
) -> None:
    with pytest.raises(BaseError, match=reason):
        Runtime(tiny.spec(**parameters))


def test_computing_fewer_tokens_at_once_gives_the_same_logits(tiny: Tiny) -> None:
    tokens = [token % 250 for token in PROMPT]
    # Keys and values in f32 throughout: what is rounded depends on how much is computed at once.
    exact = {"num_batch": 128, "kv_cache_type": "f32", "flash_attention": False}
    with Runtime(tiny.spec(**exact)) as whole, Runtime(tiny.spec(num_ubatch=24, **exact)) as cut:
        assert (whole.context.n_ubatch, cut.context.n_ubatch) == (128, 24)
        assert distance(logits(whole, tokens), logits(cut, tokens)) < 1e-4


@pytest.mark.parametrize(
    ("given", "n_batch", "n_ubatch", "notices"),
    [
        ({}, PREFILL_CHUNK, PREFILL_CHUNK, ()),
        ({"num_batch": 64}, 64, 64, ()),
        ({"num_ubatch": 32}, PREFILL_CHUNK, 32, ()),
        ({"num_ubatch": 200}, 200, 200, ()),
        ({"num_batch": 100_000}, 512, 512, ()),
        ({"num_batch": 64, "num_ubatch": 64}, 64, 64, ()),
        (
            {"num_batch": 64, "num_ubatch": 256},
            64,
            64,
            ("num_ubatch 256 is more than num_batch 64: 64 is used.",),
        ),
    ],
)
def test_the_sizes_of_batches(
    tiny: Tiny, given: dict[str, object], n_batch: int, n_ubatch: int, notices: tuple[str, ...]
) -> None:
    with Runtime(tiny.spec(**given)) as runtime:
        assert (runtime.context.n_batch, runtime.context.n_ubatch) == (n_batch, n_ubatch)
        assert runtime.info.notices == notices


def test_a_large_base_tells_its_progress_as_often_and_a_gpu_takes_more_at_once() -> None:
    small, large = (default_chunk(n, is_offloaded=False) for n in (135_000_000, 1_000_000_000))
    assert small > large >= 64
    assert default_chunk(135_000_000, is_offloaded=True) > small


@pytest.mark.parametrize("kind", DeviceKind)
@pytest.mark.parametrize("num_gpu", [None, -1, 0, 3])
def test_layers_are_elsewhere_only_where_there_is_a_gpu(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, kind: DeviceKind, num_gpu: int | None
) -> None:
    monkeypatch.setattr(Backends, "devices", lambda _self: (Device(1, kind, "x", "y"),))
    with Runtime(tiny.spec(num_gpu=num_gpu)) as runtime:
        is_gpu = kind in (DeviceKind.GPU, DeviceKind.IGPU)
        assert runtime.model.is_offloaded == (is_gpu and num_gpu != 0)
        assert (runtime.context.n_batch == OFFLOADED_PREFILL_CHUNK) == runtime.model.is_offloaded


def test_threads_of_the_prompt_are_those_of_the_answer_unless_set(tiny: Tiny) -> None:
    with Runtime(tiny.spec(num_thread=1)) as runtime:
        assert runtime.context.n_threads == runtime.context.n_threads_batch == 1
    with Runtime(tiny.spec(num_thread=1, num_thread_batch=2)) as runtime:
        assert (runtime.context.n_threads, runtime.context.n_threads_batch) == (1, 2)
    with Runtime(tiny.spec(num_thread_batch=0)) as runtime:
        assert runtime.context.n_threads_batch == 1
    with Runtime(tiny.spec(num_thread_batch=4096)) as runtime:
        assert runtime.context.n_threads_batch == 512


def test_on_the_processor_flash_attention_is_off_unless_the_scores_take_much_memory() -> None:
    assert default_flash_attention(n_head=32, n_ctx=4096, n_ubatch=64) is False
    assert default_flash_attention(n_head=32, n_ctx=131072, n_ubatch=64) is None
    with demo() as runtime:
        assert runtime.context.uses_flash_attention is False
    with demo(kv_cache_type="q8_0") as runtime:
        assert runtime.context.uses_flash_attention is None
    with demo(flash_attention=True) as runtime:
        assert runtime.context.uses_flash_attention is True
