"""What the rack tells of the selected adapter and of the whole stack."""

from __future__ import annotations

import re
from pathlib import Path

from textual.content import Content

from engine.adapters.adapter import Adapter
from tui.mix import Mix
from tui.sanitize import printable_line
from tui.themes import MUTED
from tui.units import size_text

_HASH = re.compile(r"(sha256-[0-9a-f]{12})[0-9a-f]{52}")


def details_content(adapter: Adapter) -> Content:
    """Return the adapter's name, rank, alpha, size, memory, targets, description and path."""
    alpha = f"{adapter.alpha:g}" if adapter.alpha else "none"
    lines = [
        Content.styled(printable_line(adapter.name), "bold"),
        _pair("rank", f"{adapter.rank_text} · alpha {alpha} · {adapter.n_targets} tensors"),
        _pair(
            "size", f"{size_text(adapter.size_bytes)} · memory {size_text(adapter.memory_bytes)}"
        ),
    ]
    if adapter.description:
        lines.append(Content.styled(printable_line(adapter.description), MUTED))
    lines.append(Content.styled(printable_line(short_path(adapter.path)), MUTED))
    return Content("\n").join(lines)


def total_content(mix: Mix) -> Content:
    """Return how many adapters there are and the memory they take together."""
    stack = mix.stack
    if not len(stack):
        return Content("")
    memory = size_text(sum(entry.adapter.memory_bytes for entry in stack))
    return Content.styled(
        f"{len(mix.in_force.active)} of {len(stack)} on · {memory} in memory", MUTED
    )


def short_path(path: str) -> str:
    """Return a path with the home folder as `~` and the hash of a stored file cut to 12 digits."""
    path = _HASH.sub(r"\1…", path)
    try:
        return f"~/{Path(path).relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return path


def _pair(name: str, value: str) -> Content:
    return Content.assemble(Content.styled(f"{name} ", MUTED), Content(value))
