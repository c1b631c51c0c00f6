"""Sampling parameters reach llama.cpp's samplers, in Ollama's order and with its defaults."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from engine.runtime.answer.sampling import Sampling
from engine.runtime.runtime import Runtime
from modelfiles.parameters import Parameters

N_DRAWS = 400
NEUTRAL = Parameters(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0)


@pytest.fixture
def logits(runtime: Runtime) -> npt.NDArray[np.float64]:
    """The next-token logits of a short prompt, shape (n_vocab,)."""
    list(runtime.prefill(runtime.model.tokenize("Once there was")))
    return runtime.context.logits().astype(np.float64)


def draws(runtime: Runtime, parameters: Parameters) -> Counter[int]:
    """Draw from the last logits with one seed after the other."""
    counts: Counter[int] = Counter()
    for seed in range(N_DRAWS):
        seeded = Parameters(seed=seed).over(parameters)
        with Sampling.of(seeded).chain(runtime.model, [], runtime.context.n_ctx) as chain:
            counts[chain.sample(runtime.context)] += 1
    return counts


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponents = np.exp(logits - logits.max())
    return exponents / exponents.sum()


def assert_drawn_from(counts: Counter[int], expected: npt.NDArray[np.float64]) -> None:
    """Check that draws stay inside the support and follow the probabilities."""
    assert all(expected[token] > 0 for token in counts)
    observed = np.zeros_like(expected)
    for token, count in counts.items():
        observed[token] = count / N_DRAWS
    # Half the sum of differences: expected about sqrt(support / N_DRAWS), far below for a match.
    distance = np.abs(observed - expected).sum() / 2
    support = int((expected > 0).sum())
    assert distance < max(0.08, (support / N_DRAWS) ** 0.5), distance


def kept(
    probabilities: npt.NDArray[np.float64], keep: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    chosen = np.where(keep, probabilities, 0.0)
    return chosen / chosen.sum()


def test_the_defaults_are_ollamas() -> None:
    assert Sampling.of(Parameters()) == Sampling(
        seed=-1,
        temperature=0.8,
        top_k=40,
        top_p=0.9,
        min_p=0.0,
        typical_p=1.0,
        repeat_last_n=64,
        repeat_penalty=1.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
    )


def test_temperature_zero_takes_the_likeliest(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    assert set(draws(runtime, Parameters(temperature=0.0))) == {int(logits.argmax())}


def test_temperature_flattens_the_distribution(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    top = np.argsort(-logits)[:8]
    keep = np.isin(np.arange(logits.size), top)
    parameters = Parameters(temperature=2.0, top_k=8).over(NEUTRAL)
    assert_drawn_from(draws(runtime, parameters), kept(softmax(logits / 2.0), keep))


def test_top_k_keeps_the_k_likeliest(runtime: Runtime, logits: npt.NDArray[np.float64]) -> None:
    keep = np.isin(np.arange(logits.size), np.argsort(-logits)[:3])
    parameters = Parameters(top_k=3).over(NEUTRAL)
    assert_drawn_from(draws(runtime, parameters), kept(softmax(logits), keep))


def test_top_p_is_taken_before_the_temperature(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    probabilities = softmax(logits)
    order = np.argsort(-probabilities)
    n_kept = int(np.searchsorted(np.cumsum(probabilities[order]), 0.3)) + 1
    keep = np.isin(np.arange(logits.size), order[:n_kept])
    parameters = Parameters(top_p=0.3, temperature=3.0).over(NEUTRAL)
    assert_drawn_from(draws(runtime, parameters), kept(softmax(logits / 3.0), keep))


def test_min_p_is_relative_to_the_likeliest(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    probabilities = softmax(logits)
    keep = probabilities >= 0.5 * probabilities.max()
    parameters = Parameters(min_p=0.5).over(NEUTRAL)
    assert_drawn_from(draws(runtime, parameters), kept(probabilities, keep))


def test_typical_keeps_what_is_about_as_surprising_as_the_entropy(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    probabilities = softmax(logits)
    surprise = -np.log(probabilities)
    entropy = float((probabilities * surprise).sum())
    order = np.argsort(np.abs(surprise - entropy))
    n_kept = int(np.searchsorted(np.cumsum(probabilities[order]), 0.3)) + 1
    keep = np.isin(np.arange(logits.size), order[:n_kept])
    parameters = Parameters(typical_p=0.3).over(NEUTRAL)
    assert_drawn_from(draws(runtime, parameters), kept(probabilities, keep))


@pytest.mark.parametrize(
    ("parameters", "penalise"),
    [
        (Parameters(repeat_penalty=4.0), lambda x, n: x / 4.0 if x > 0 else x * 4.0),
        (Parameters(presence_penalty=2.0), lambda x, n: x - 2.0),
        (Parameters(frequency_penalty=1.5), lambda x, n: x - 1.5 * n),
    ],
)
def test_penalties_lower_what_the_prompt_repeats(
    runtime: Runtime,
    logits: npt.NDArray[np.float64],
    parameters: Parameters,
    penalise: object,
) -> None:
    assert callable(penalise)
    best = np.argsort(-logits)[:6].tolist()
    prompt = [best[0]] * 3 + best[1:5] * 2
    expected = logits.copy()
    for token in set(prompt):
        expected[token] = penalise(expected[token], prompt.count(token))
    greedy = Parameters(temperature=0.0, repeat_last_n=-1).over(parameters)
    with Sampling.of(greedy).chain(runtime.model, prompt, runtime.context.n_ctx) as chain:
        assert chain.sample(runtime.context) == int(expected.argmax())


def test_penalties_look_back_no_further_than_repeat_last_n(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    best, second = np.argsort(-logits)[:2].tolist()
    greedy = Parameters(temperature=0.0, presence_penalty=50.0)
    for last_n, expected in ((2, best), (3, second)):
        values = Parameters(repeat_last_n=last_n).over(greedy)
        others = [token for token in range(3, 9) if token not in (best, second)][:2]
        with Sampling.of(values).chain(runtime.model, [best, *others], 512) as chain:
            assert chain.sample(runtime.context) == expected


def test_the_same_seed_draws_the_same_and_another_seed_differs(
    runtime: Runtime, logits: npt.NDArray[np.float64]
) -> None:
    hot = Parameters(temperature=2.0).over(NEUTRAL)

    def sequence(seed: int) -> list[int]:
        seeded = Parameters(seed=seed).over(hot)
        with Sampling.of(seeded).chain(runtime.model, [], 512) as chain:
            return [chain.sample(runtime.context) for _ in range(20)]

    assert sequence(7) == sequence(7)
    assert sequence(7) != sequence(8)
    assert sequence(-1) != sequence(-1)
