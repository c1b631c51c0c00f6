"""The effect is the mean KL divergence that a cold llama.cpp shows, and disturbs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.errors import EngineError, GenerationError
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from engine.runtime.effect.probe import CHUNK, N_ANSWER, QUESTION, EffectProbe, kl_divergence
from modelfiles.demo import ADAPTERS, BASE
from tests.engine.conftest import Tiny
from tests.support.steps import finished
from tests.support.tiny_mamba import write_mamba_base
from tests.support.tiny_models import write_adapter, write_base

QUESTION_AS_CHAT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture
def model(tiny: Tiny) -> Iterator[Model]:
    with Model(tiny.base, n_gpu_layers=0) as model:
        yield model


@pytest.fixture
def first(model: Model, tiny: Tiny) -> LoraAdapter:
    return LoraAdapter(model, tiny.first.file)


@pytest.fixture
def second(model: Model, tiny: Tiny) -> LoraAdapter:
    return LoraAdapter(model, tiny.second.file)


@pytest.fixture
def probe(model: Model) -> EffectProbe:
    return EffectProbe(model, n_threads=1)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Every run of tokens that a context evaluates from here on."""
    runs: list[list[int]] = []

    def recorded(name: str) -> Callable[[Context, Sequence[int]], object]:
        run = getattr(Context, name)

        def record(context: Context, tokens: Sequence[int]) -> object:
            runs.append(list(tokens))
            return run(context, tokens)

        return record

    for name in ("decode", "evaluate"):
        monkeypatch.setattr(Context, name, recorded(name))
    return runs


def probed(probe: EffectProbe, adapter: LoraAdapter, evaluated: list[list[int]]) -> list[int]:
    """Measure an adapter twice; return what the second time evaluates, the base being known."""
    finished(probe.measure([(adapter, 1.0)]))
    evaluated.clear()
    assert finished(probe.measure([(adapter, 1.0)])) > 0.0
    return [token for run in evaluated for token in run]


def effect_on(base: Path, adapter: Path, scale: float = 1.0) -> float:
    with Model(base, n_gpu_layers=0) as model, LoraAdapter(model, adapter) as handle:
        return finished(EffectProbe(model, n_threads=1).measure([(handle, scale)]))


def probabilities(
    model: Model, adapters: Sequence[tuple[LoraAdapter, float]], tokens: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Return what follows each token, evaluated one by one in a new context."""
    with Context(model, n_ctx=256, n_batch=1, n_threads=1) as context:
        context.set_adapters(adapters)
        rows = []
        for token in tokens:
            context.decode([token])
            odds = np.exp(context.logits().astype(np.longdouble))
            rows.append((odds / odds.sum()).astype(np.float64))
    return np.array(rows)


def base_answer(model: Model, question: list[int]) -> list[int]:
    """Return the base's greedy answer of at most 8 tokens."""
    answer: list[int] = []
    with Context(model, n_ctx=256, n_batch=256, n_threads=1) as context:
        context.decode(question)
        while len(answer) < 8 and not model.ends_generation(int(context.logits().argmax())):
            answer.append(int(context.logits().argmax()))
            context.decode(answer[-1:])
    return answer


def test_the_effect_is_the_mean_kl_divergence_of_what_follows_question_and_answer(
    model: Model, probe: EffectProbe, first: LoraAdapter, second: LoraAdapter
) -> None:
    question = model.tokenize(QUESTION_AS_CHAT)
    tokens = question + base_answer(model, question)
    q = probabilities(model, [], tokens)
    for stack in ([(first, 1.0)], [(first, 0.5), (second, -0.7)]):
        p = probabilities(model, stack, tokens)
        expected = float((p * np.log(p / q)).sum(axis=1).mean())
        # The KV cache holds float16, and a chunk rounds otherwise than its tokens one by one.
        assert finished(probe.measure(stack)) == pytest.approx(expected, rel=1e-4)
        assert expected > 0.1


def test_no_adapter_and_scale_zero_have_no_effect_at_all(
    probe: EffectProbe, first: LoraAdapter
) -> None:
    assert finished(probe.measure([])) == 0.0
    assert finished(probe.measure([(first, 0.0)])) == 0.0


@pytest.mark.parametrize("dtype", ["f32", "q8_0"])
def test_an_untrained_adapter_has_no_effect_at_all(tmp_path: Path, dtype: str) -> None:
    base = write_base(tmp_path / "base.gguf", dtype=dtype)
    adapter = write_adapter(tmp_path / "zero.gguf", base, scale_of_weights=0.0)
    assert effect_on(base, adapter) == 0.0


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma", "mixtral"])
def test_the_effect_grows_with_the_scale(tmp_path: Path, architecture: str) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    path = write_adapter(tmp_path / "adapter.gguf", base, scale_of_weights=0.1)
    with Model(base, n_gpu_layers=0) as model, LoraAdapter(model, path) as adapter:
        probe = EffectProbe(model, n_threads=1)
        effects = [finished(probe.measure([(adapter, s)])) for s in (0.0, 1e-3, 0.1, 0.5, 1.0)]
    assert effects[0] == 0.0
    assert all(low < high for low, high in pairwise(effects))
    assert effects[1] < 1e-4 < effects[-1]


def test_a_second_measurement_gives_the_same_number_also_after_another_stack(
    probe: EffectProbe, first: LoraAdapter, second: LoraAdapter
) -> None:
    alone = finished(probe.measure([(first, 1.0)]))
    both = finished(probe.measure([(first, 1.0), (second, 1.0)]))
    assert finished(probe.measure([(first, 1.0)])) == alone != both


def test_the_conversation_goes_on_as_if_nothing_had_been_measured(
    model: Model, probe: EffectProbe, first: LoraAdapter, second: LoraAdapter
) -> None:
    contexts = [Context(model, n_ctx=128, n_batch=64, n_threads=1) for _ in range(2)]
    for context in contexts:
        context.set_adapters([(first, 0.5)])
        context.decode(model.tokenize("What does the scale do?"))
    measured, other = contexts
    before = measured.logits()
    finished(probe.measure([(second, 1.0)]))
    assert np.array_equal(measured.logits(), before)
    for context in contexts:
        context.decode([7])
    assert np.array_equal(measured.logits(), other.logits())


def test_between_two_pauses_a_chunk_is_evaluated_at_most(
    probe: EffectProbe, first: LoraAdapter, evaluated: list[list[int]]
) -> None:
    n_at_pauses = [len(evaluated) for _ in probe.measure([(first, 1.0)])]
    assert n_at_pauses == list(range(1, len(evaluated) + 1))
    assert max(map(len, evaluated)) == CHUNK
    assert len(evaluated) > 2 * N_ANSWER


@pytest.mark.parametrize("n_steps", [1, 6, 12, 16])
def test_a_measurement_given_up_leaves_the_next_one_right(
    model: Model, probe: EffectProbe, first: LoraAdapter, second: LoraAdapter, n_steps: int
) -> None:
    expected = finished(EffectProbe(model, n_threads=1).measure([(first, 1.0)]))
    given_up = probe.measure([(second, 1.0)])
    for _ in range(n_steps):
        next(given_up)
    assert finished(probe.measure([(first, 1.0)])) == expected
    with pytest.raises(EngineError, match="ended"):
        next(given_up)


def test_the_base_is_evaluated_once(
    probe: EffectProbe,
    first: LoraAdapter,
    second: LoraAdapter,
    evaluated: list[list[int]],
) -> None:
    n_first = len(list(probe.measure([(first, 1.0)])))
    evaluated.clear()
    n_second = len(list(probe.measure([(second, 1.0)])))
    assert n_second == len(evaluated) == -(-sum(map(len, evaluated)) // CHUNK)
    assert n_first > 2 * n_second


@pytest.mark.parametrize("n_steps", [1, 25])
@pytest.mark.parametrize("closed", ["model", "adapter", "probe"])
def test_what_is_closed_meanwhile_ends_a_measurement(
    model: Model, probe: EffectProbe, first: LoraAdapter, closed: str, n_steps: int
) -> None:
    steps = probe.measure([(first, 1.0)])
    for _ in range(n_steps):
        next(steps)
    {"model": model, "adapter": first, "probe": probe}[closed].close()
    with pytest.raises(EngineError, match="ended"):
        next(steps)


def test_closing_the_probe_frees_its_context(
    model: Model, probe: EffectProbe, first: LoraAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Context] = []

    def make(model: Model, **options: Any) -> Context:
        made.append(Context(model, **options))
        return made[-1]

    monkeypatch.setattr("engine.runtime.effect.probe.Context", make)
    assert finished(probe.measure([])) == 0.0
    assert made == []
    for _ in range(2):
        finished(probe.measure([(first, 1.0)]))
    (context,) = made
    assert not context.is_closed
    probe.close()
    assert context.is_closed


def test_numbers_out_of_range_are_said_instead_of_measured(
    probe: EffectProbe, first: LoraAdapter
) -> None:
    with pytest.raises(GenerationError, match="lower its scales"):
        finished(probe.measure([(first, 1e30)]))


def test_a_recurrent_model_is_measured_from_an_empty_state_each_time(tmp_path: Path) -> None:
    base = write_mamba_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base, targets=["ssm_in", "ssm_out"])
    with Model(base, n_gpu_layers=0) as model, LoraAdapter(model, path) as adapter:
        probe = EffectProbe(model, n_threads=1)
        effects = [finished(probe.measure([(adapter, 0.5)])) for _ in range(2)]
        assert effects[0] == effects[1] > 0.01
        assert finished(probe.measure([(adapter, 0.0)])) == 0.0


@pytest.mark.parametrize(
    "template",
    [None, "", "{{ raise_exception('It wants a tool.') }}", "{{ messages | nonsense }}", " " * 999],
    ids=["none", "empty", "refuses", "broken", "too-long"],
)
def test_without_a_usable_chat_template_the_bare_question_serves(
    tmp_path: Path, template: str | None, evaluated: list[list[int]]
) -> None:
    base = write_base(tmp_path / "base.gguf", chat_template=template)
    with Model(base, n_gpu_layers=0) as model:
        adapter = LoraAdapter(model, write_adapter(tmp_path / "adapter.gguf", base))
        probe = EffectProbe(model, n_threads=1)
        assert finished(probe.measure([(adapter, 1.0)])) > 0.1
        question = model.tokenize(QUESTION)
        assert probed(probe, adapter, evaluated)[: len(question)] == question


@pytest.mark.parametrize("n_ctx_train", [4, 40, 64])
def test_the_probe_is_no_longer_than_the_base_was_trained_for(
    tmp_path: Path, n_ctx_train: int, evaluated: list[list[int]]
) -> None:
    base = write_base(tmp_path / "base.gguf", n_ctx_train=n_ctx_train)
    with Model(base, n_gpu_layers=0) as model:
        adapter = LoraAdapter(model, write_adapter(tmp_path / "adapter.gguf", base))
        probe = EffectProbe(model, n_threads=1)
        assert finished(probe.measure([(adapter, 1.0)])) > 0.1
        assert 0 < len(probed(probe, adapter, evaluated)) <= n_ctx_train


def test_a_base_that_answers_nothing_is_probed_with_the_question(
    tmp_path: Path, evaluated: list[list[int]]
) -> None:
    base = write_base(tmp_path / "base.gguf", ends_at_once=True)
    with Model(base, n_gpu_layers=0) as model:
        adapter = LoraAdapter(model, write_adapter(tmp_path / "adapter.gguf", base))
        probe = EffectProbe(model, n_threads=1)
        assert probed(probe, adapter, evaluated) == model.tokenize(QUESTION_AS_CHAT)


# Measured: 1.71, 0.69, 2.08 and 0.28 nats.
LEAST_NATS = {"pirate": 1.0, "formal": 0.4, "shout": 1.2, "island": 0.15}


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_every_adapter_of_the_demo_has_an_effect_that_its_scale_governs(name: str) -> None:
    with Model(BASE, n_gpu_layers=0) as model:
        adapter = LoraAdapter(model, ADAPTERS[name])
        probe = EffectProbe(model, n_threads=1)
        quarter, half, whole = (
            finished(probe.measure([(adapter, scale)])) for scale in (0.25, 0.5, 1.0)
        )
    assert 1e-3 < quarter < half < whole
    assert whole > LEAST_NATS[name]


def test_a_token_that_both_rule_out_adds_nothing() -> None:
    base = np.array([[0.0, 1.0, -np.inf]], dtype=np.float32)
    other = np.array([[1.0, 0.0, -np.inf]], dtype=np.float32)
    p = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    assert kl_divergence(other, base) == pytest.approx(float(p @ np.log(p / p[::-1])))


def test_one_logit_more_for_all_tokens_is_no_difference() -> None:
    base = np.linspace(-5, 5, 100, dtype=np.float32).reshape(2, 50)
    assert kl_divergence(base + np.float32(1), base) == pytest.approx(0.0, abs=1e-6)
