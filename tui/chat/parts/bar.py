"""Draw a scale or a fraction as a short bar of characters."""

from __future__ import annotations

from textual.content import Content

from tui.chat.themes import FAINT

_LINE, _TRACK = "━", "─"
_RIGHT_HALF, _LEFT_HALF = "╺", "╸"


def scale_bar(scale: float, width: int, *, is_active: bool) -> Content:
    """Return the scale as a bar of `width` cells, drawn in half cells.

    One whole bar is 1.0, the strength the adapter was trained at. From 1.0 to 2.0 a brighter part
    grows over it. Negative scales grow from the right, in another colour.
    """
    if not is_active:
        return Content.styled(_TRACK * width, FAINT)
    size = abs(scale)
    halves = max(1, round(min(1.0, size) * width * 2))
    over = round(min(1.0, max(0.0, size - 1.0)) * width)
    cells, has_half = divmod(halves, 2)
    tip = (_RIGHT_HALF if scale < 0 else _LEFT_HALF) if has_half else ""
    over_part = Content.styled(_LINE * over, "$error" if scale < 0 else "$warning")
    line = _LINE * (cells - over)
    track = Content.styled(_TRACK * (width - cells - len(tip)), FAINT)
    if scale < 0:
        return Content.assemble(track, Content.styled(tip + line, "$secondary"), over_part)
    return Content.assemble(over_part, Content.styled(line + tip, "$primary"), track)


def progress_bar(fraction: float, width: int) -> Content:
    """Return a fraction from 0 to 1 as a bar of `width` cells."""
    filled = round(max(0.0, min(1.0, fraction)) * width)
    return Content.assemble(
        Content.styled(_LINE * filled, "$primary"),
        Content.styled(_TRACK * (width - filled), FAINT),
    )
