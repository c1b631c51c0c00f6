"""Define the goals for figures, and judge them by one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.benchmarks import conversion, event_loop, hub
from tests.benchmarks.measurement import Report, Unit, Value, text_of
from tests.benchmarks.shapes import Shape


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that all of the given figures must satisfy."""

    key: str
    text: str
    figures: tuple[str, ...]
    """Keys of figures; the worst one is judged."""
    at_least: float | None = None
    at_most: float | None = None
    unit: Unit = Unit.RATIO

    def is_measured(self, figures: Mapping[str, Value]) -> bool:
        """Return whether the run measured all of the goal's figures."""
        return all(key in figures for key in self.figures)

    def worst(self, figures: Mapping[str, Value]) -> float | None:
        """Return the worst figure with regard to the bound; None if one is unavailable."""
        values = [figures[key] for key in self.figures]
        found = [float(value) for value in values if value is not None]
        if len(found) < len(values):
            return None
        return min(found) if self.at_least is not None else max(found)

    def is_reached(self, figures: Mapping[str, Value]) -> bool:
        """Return whether the worst figure satisfies the bound."""
        worst = self.worst(figures)
        if worst is None:
            return False
        if self.at_least is not None and worst < self.at_least:
            return False
        return self.at_most is None or worst <= self.at_most

    @property
    def bound_text(self) -> str:
        """The bound as text for the table."""
        if self.at_least is not None:
            return f">= {text_of(self.at_least, self.unit)}"
        return f"<= {text_of(self.at_most, self.unit)}"


def goals_of(shape: Shape) -> tuple[Goal, ...]:
    """Return the goals for one shape."""
    key = shape.key
    decode = f"decode_{key}"
    return (
        Goal(
            f"goal_client_over_bare_{key}",
            "decode through the client, 0 and 1 adapter, of the bare loop",
            (f"{decode}_0_adapters_client_over_bare", f"{decode}_1_adapter_client_over_bare"),
            at_least=0.97,
        ),
        Goal(
            f"goal_8_fused_over_bare_{key}",
            "decode, 8 fused, of the bare loop with 8 one by one",
            (f"{decode}_8_adapters_fused_over_bare",),
            at_least=1.7,
        ),
        Goal(
            f"goal_8_fused_over_1_adapter_{key}",
            "decode, 8 fused, of 1 adapter",
            (f"{decode}_8_adapters_fused_over_1_adapter",),
            at_least=0.75,
        ),
        Goal(
            f"goal_swap_back_{key}",
            "first token after returning at 2048 tokens, times faster than evaluating",
            (f"swap_{key}_2048_tokens_cold_over_returned",),
            at_least=30.0,
        ),
        Goal(
            f"goal_worker_overhead_{key}",
            "worker overhead per token, share",
            tuple(
                f"worker_overhead_{key}_{n}_share"
                for n in ("0_adapters", "1_adapter", "8_adapters")
            ),
            at_most=0.03,
        ),
        Goal(
            f"goal_event_loop_{key}",
            "longest gap of the event loop",
            tuple(f"event_loop_{key}_{name}_longest_gap_s" for name in event_loop.NAMES),
            at_most=0.05,
            unit=Unit.SECONDS,
        ),
    )


CONVERSION_GOALS = (
    Goal(
        "goal_conversion_time",
        "llama.cpp's converter over ours, time",
        (conversion.FASTER,),
        at_least=10.0,
    ),
    Goal(
        "goal_conversion_memory",
        "llama.cpp's converter over ours, peak memory",
        (conversion.MEMORY,),
        at_least=4.0,
    ),
)

HUB_GOALS = (
    Goal(
        "goal_hub_first_row",
        "first row of a search after the answer's first byte",
        (hub.FIRST_ROW,),
        at_most=0.1,
        unit=Unit.SECONDS,
    ),
)


def judge(report: Report, shapes: Sequence[Shape]) -> None:
    """Show which of the measured goals were reached, and add them to the figures."""
    for shape in shapes:
        _judge(report, shape.title, goals_of(shape))
    _judge(report, "conversion", CONVERSION_GOALS)
    _judge(report, "hub", HUB_GOALS)


def _judge(report: Report, title: str, goals: Sequence[Goal]) -> None:
    rows = []
    for goal in goals:
        if not goal.is_measured(report.figures):
            continue
        is_reached = goal.is_reached(report.figures)
        measured = text_of(goal.worst(report.figures), goal.unit)
        report.add_flag(f"{goal.key}_reached", is_reached)
        rows.append([goal.text, goal.bound_text, measured, "yes" if is_reached else "no"])
    if rows:
        report.table(f"goals: {title}", ("goal", "bound", "measured", "reached"), rows)
