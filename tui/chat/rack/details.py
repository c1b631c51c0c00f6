"""Details of the selected adapter and of the whole stack, for the rack."""

from __future__ import annotations

import re
from pathlib import Path

from textual.content import Content

from engine.hub.client.addresses import hub_address
from engine.protocol.values import AdapterEffect
from engine.stack import Adapter
from tui.chat.rack.effect_words import NO_EFFECT, effect_text, usage_texts
from tui.chat.session.mix import Mix
from tui.chat.session.stack_facts import StackState
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line
from tui.text.units import size_text

_HASH = re.compile(r"([/\\](?:sha256-)?[0-9a-f]{12})[0-9a-f]{52}")


def details_content(adapter: Adapter, effect: AdapterEffect | None = None) -> Content:
    """Return the adapter's name, rank, alpha, size, memory, targets, effect, description, path."""
    alpha = f"{adapter.alpha:g}" if adapter.alpha else "none"
    lines = [
        Content.styled(printable_line(adapter.name), "bold"),
        _pair("rank", f"{adapter.rank_text} · alpha {alpha} · {adapter.n_targets} tensors"),
        _pair(
            "size", f"{size_text(adapter.size_bytes)} · memory {size_text(adapter.memory_bytes)}"
        ),
    ]
    if effect is not None:
        colour = "$text-warning" if effect.notices else MUTED
        lines += [Content.styled(text, colour) for text in usage_texts(effect)]
    if adapter.description:
        lines.append(Content.styled(printable_line(adapter.description), MUTED))
    lines.append(Content.styled(printable_line(short_path(adapter.path)), MUTED))
    return Content("\n").join(lines)


def total_content(mix: Mix, state: StackState) -> Content:
    """Return the stack's effect and form, the number of adapters on, and the memory of all."""
    stack = mix.stack
    if not len(stack):
        return Content("")
    memory = size_text(sum(entry.adapter.memory_bytes for entry in stack))
    lines = [
        stack_content(state),
        Content.styled(
            f"{len(mix.in_force.active)} of {len(stack)} on · {memory} in memory", MUTED
        ),
    ]
    return Content("\n").join(line for line in lines if line.plain)


def stack_content(state: StackState) -> Content:
    """Return what is known of a stack: `effect 1.8 nats · fused · exact`, with the reason below."""
    parts: list[Content] = []
    if state.effect_nats is not None:
        text = effect_text(state.effect_nats)
        parts.append(
            Content.styled(text, "$text-warning") if text == NO_EFFECT else _pair("effect", text)
        )
    if state.form in ("layered", "fused"):
        parts.append(Content(state.form))
    if state.is_approximate:
        parts.append(Content.styled("approximate", "$text-warning"))
    elif parts:
        parts.append(Content("exact"))
    line = Content(" · ").join(parts)
    if state.reason and line.plain:
        line = Content("\n").join([line, Content.styled(printable_line(state.reason), MUTED)])
    return line


def short_path(path: str) -> str:
    """Return a path with the home folder as `~` and the hash of a stored file cut to 12 digits.

    A file in the Hub's cache is shown as its reference, `hf.co/user/repo:file`.
    """
    pulled = hub_address(path)
    if pulled:
        return pulled
    path = _HASH.sub(r"\1…", path)
    try:
        return f"~/{Path(path).relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return path


def _pair(name: str, value: str) -> Content:
    return Content.assemble(Content.styled(f"{name} ", MUTED), Content(value))
