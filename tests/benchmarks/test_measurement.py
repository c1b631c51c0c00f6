"""Samples taken in turn, medians, ratios and figures."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.measurement import Report, Unit, in_turn, middle, ratio


class Recorder:
    """Ways that record their calls and return samples from a list."""

    def __init__(self, **answers: list[float | None]) -> None:
        self._answers = {name: iter(values) for name, values in answers.items()}
        self.asked: list[str] = []

    def ways(self) -> dict[str, Callable[[], Awaitable[float | None]]]:
        return {name: partial(self._answer, name) for name in self._answers}

    async def _answer(self, name: str) -> float | None:
        self.asked.append(name)
        return next(self._answers[name])


async def test_every_round_takes_one_sample_of_each_way_and_every_second_one_backwards() -> None:
    recorder = Recorder(a=[1.0, 2.0, 3.0], b=[4.0, 5.0, 6.0])
    samples = await in_turn(3, recorder.ways())
    assert "".join(recorder.asked) == "abbaab"
    assert samples == {"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0]}


async def test_a_way_that_is_not_available_is_asked_once_and_has_no_samples() -> None:
    recorder = Recorder(a=[1.0, 2.0, 3.0], b=[7.0, None])
    samples = await in_turn(3, recorder.ways())
    assert "".join(recorder.asked) == "abbaa"
    assert samples == {"a": [1.0, 2.0, 3.0], "b": []}


async def test_no_round_begins_that_would_take_too_long() -> None:
    recorder = Recorder(a=[1.0, 2.0], b=[3.0, 4.0])
    assert await in_turn(2, recorder.ways(), budget_s=0.0) == {"a": [1.0], "b": [3.0]}


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine was four times slower in the second round; the medians of both are 3.0.
    assert ratio([2.0, 8.0, 3.0], [1.0, 4.0, 3.0]) == 2.0


def test_what_has_no_samples_has_neither_median_nor_ratio() -> None:
    assert middle([]) is None
    assert ratio([], [1.0]) is None
    assert ratio([1.0], []) is None
    assert middle([3.0, 1.0, 2.0]) == 2.0


def test_samples_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        ratio([1.0, 2.0], [1.0])


def test_a_key_ends_in_its_unit() -> None:
    report = Report(lambda _line: None)
    report.add("read", 0.5, Unit.SECONDS)
    report.add("decode", 12.0, Unit.TOKENS_PER_S)
    report.add("weights", 7.0, Unit.BYTES)
    report.add("a_over_b", 2.0)
    assert list(report.figures) == ["read_s", "decode_tokens_per_s", "weights_bytes", "a_over_b"]


def test_two_figures_cannot_share_a_key() -> None:
    report = Report(lambda _line: None)
    report.add("a", 1.0)
    with pytest.raises(ValueError, match="'a'"):
        report.add_flag("a", True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_is_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="no measurement"):
        Report(lambda _line: None).add("a", value)


def test_the_json_is_one_flat_object(tmp_path: Path) -> None:
    report = Report(lambda _line: None)
    report.add("read", 0.5, Unit.SECONDS)
    report.add("missing", None)
    report.add_flag("is_quick", True)
    report.write_json(tmp_path / "figures.json")
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written == {"read_s": 0.5, "missing": None, "is_quick": True}
