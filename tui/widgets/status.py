"""The last line of the chat: what the engine does, its numbers, and the main keys."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.protocol import BaseInfo
from tui.keys import Place, hints_of
from tui.observer import Meter, Phase
from tui.themes import MUTED
from tui.widgets.bar import progress_bar

_BAR_WIDTH = 12
_GAP = 2


class Status(Static):
    """One line: numbers on the left, as many keys as fit on the right."""

    is_following: reactive[bool] = reactive(True)
    is_in_rack: reactive[bool] = reactive(False)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(markup=False, id=id)
        self._left = Content("")
        self._is_busy = False

    def show(self, phase: Phase, meter: Meter, base: BaseInfo | None, *, is_waiting: bool) -> None:
        """Show the state of a session."""
        self._is_busy = phase in (Phase.PREFILL, Phase.WRITING)
        self._left = state_content(phase, meter, base, is_waiting=is_waiting)
        self.refresh()

    def render(self) -> Content:
        """Return the line in the width there is."""
        width = self.content_size.width
        hints = self._hints()
        room = width - self._left.cell_length - _GAP
        shown: list[Content] = []
        used = 0
        for keys, word in hints:
            length = len(keys) + 1 + len(word) + (_GAP if shown else 0)
            if used + length > room:
                break
            used += length
            shown.append(
                Content.assemble(Content.styled(keys, "bold $foreground 60%"), Content(f" {word}"))
            )
        right = Content(" " * _GAP).join(shown)
        blank = max(0, width - self._left.cell_length - right.cell_length)
        return self._left + Content(" " * blank) + right.stylize_before(MUTED)

    def _hints(self) -> list[tuple[str, str]]:
        hints = [("ctrl+end", "latest")] if not self.is_following else []
        if self.is_in_rack:
            return [*hints, *hints_of(Place.RACK), ("Esc", "prompt"), ("?", "keys")]
        chat = hints_of(Place.CHAT)
        order = ["rack", "keys", "bypass", "again", "copy", "models", "new", "quit"]
        if self._is_busy:
            order.insert(0, "stop")
        words = {word: keys for keys, word in chat}
        return [*hints, *((words[word], word) for word in order if word in words)]


def state_content(
    phase: Phase, meter: Meter, base: BaseInfo | None, *, is_waiting: bool
) -> Content:
    """Return the left part: `62 tok/s · context 512 / 4096 · writing`."""
    if phase is Phase.LOADING:
        bar = progress_bar(meter.load_fraction, _BAR_WIDTH)
        waiting = " · your message is next" if is_waiting else ""
        return Content.assemble(
            Content("loading "), bar, Content(f" {meter.load_fraction:.0%}{waiting}")
        )
    if phase is Phase.EMPTY:
        return Content.styled("no model loaded", "$text-warning")
    parts: list[str] = []
    if phase is Phase.PREFILL and meter.n_prompt:
        parts.append(f"reading {meter.n_prefilled} / {meter.n_prompt}")
    elif meter.tokens_per_s > 0:
        parts.append(f"{meter.tokens_per_s:.0f} tok/s")
    if base is not None:
        parts.append(f"context {meter.n_context} / {base.n_ctx}")
    state = {Phase.PREFILL: "" if meter.n_prompt else "reading", Phase.WRITING: "writing"}.get(
        phase, "stopped" if meter.is_stopped else "ready"
    )
    return Content(" · ".join([*parts, state] if state else parts))
