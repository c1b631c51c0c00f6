"""Goals are judged by the worst figure of a run."""

from __future__ import annotations

from tests.benchmarks.goals import CONVERSION_GOALS, Goal, goals_of, judge
from tests.benchmarks.measurement import Report
from tests.benchmarks.shapes import SHAPES, SMALL

SPEED = Goal("goal", "speed", ("a", "b"), at_least=0.97)
OVERHEAD = Goal("goal", "overhead", ("a", "b"), at_most=0.03)


def test_the_worst_figure_decides() -> None:
    assert SPEED.is_reached({"a": 1.0, "b": 0.97})
    assert not SPEED.is_reached({"a": 1.2, "b": 0.969})
    assert OVERHEAD.is_reached({"a": -0.01, "b": 0.03})
    assert not OVERHEAD.is_reached({"a": -0.01, "b": 0.031})


def test_what_the_engine_does_not_offer_is_not_reached() -> None:
    assert SPEED.worst({"a": 1.0, "b": None}) is None
    assert not SPEED.is_reached({"a": 1.0, "b": None})


def test_a_goal_that_was_not_measured_is_not_judged() -> None:
    report = Report(lambda _line: None)
    report.add(f"decode_{SMALL.key}_8_adapters_fused_over_bare", 2.3)
    judge(report, [SMALL])
    flags = {key: value for key, value in report.figures.items() if key.startswith("goal")}
    assert flags == {f"goal_8_fused_over_bare_{SMALL.key}_reached": True}


def test_every_goal_of_every_shape_has_a_key_of_its_own() -> None:
    keys = [goal.key for other in SHAPES.values() for goal in goals_of(other)]
    keys += [goal.key for goal in CONVERSION_GOALS]
    assert len(set(keys)) == len(keys)
