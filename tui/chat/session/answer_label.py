"""Label an answer whose stack changed while it was written."""

from __future__ import annotations

from engine.stack import AdapterStack, StackEntry
from tui.chat.session.mix import Mix

_MOST = 4
"""Adapters named in the label of a changed stack; the others are only counted."""


def answer_label(first: Mix, last: Mix, *, is_changed: bool, is_approximate: bool) -> str:
    """Return the label of an answer that began under one mix and ended under another.

    `is_changed` says whether the mix changed in between, even if it changed back.
    """
    marks = [word for word in ("live" * is_changed, "approximate" * is_approximate) if word]
    words = changed_text(first, last) if is_changed else first.label
    return f"{words} · {', '.join(marks)}" if marks else words


def changed_text(first: Mix, last: Mix) -> str:
    """Return `pirate 0.70 → 0.30 + formal 0.40`, the changed adapters first.

    At most four adapters are named; the others are counted, as `2 more`.
    """
    if first.in_force == last.in_force:
        return first.label
    if last.is_bypassed or not last.in_force.active:
        return f"{_shortened(first.in_force)} → {last.label}"
    if first.is_bypassed or not first.in_force.active:
        return f"{first.label} → {_shortened(last.in_force)}"
    before, after = _active(first.in_force), _active(last.in_force)
    changed, same = [], []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            same.append(f"{name} {_scale(old)}")
        else:
            changed.append(f"{name} {_scale(old)} → {_scale(new)}")
    return _joined([*changed, *same])


def _active(stack: AdapterStack) -> dict[str, StackEntry]:
    return {entry.adapter.name: entry for entry in stack.active}


def _scale(entry: StackEntry | None) -> str:
    return "off" if entry is None else f"{entry.scale:.2f}"


def _shortened(stack: AdapterStack) -> str:
    return _joined([f"{entry.adapter.name} {_scale(entry)}" for entry in stack.active])


def _joined(parts: list[str]) -> str:
    if len(parts) > _MOST:
        parts = [*parts[:_MOST], f"{len(parts) - _MOST} more"]
    return " + ".join(parts)
