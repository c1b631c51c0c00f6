"""The last line of the chat: the state of the engine, its numbers, and the main keys."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widgets import Static

from engine.protocol.values import BaseInfo
from tui.chat.keys.all_keys import hints_of
from tui.chat.keys.key import Place
from tui.chat.parts.bar import progress_bar
from tui.chat.session.meter import Meter, Phase
from tui.chat.themes import MUTED

_BAR_WIDTH = 12
_SMALL_BAR_WIDTH = 6
_GAP = 2
_KEYS_WIDTH = 20
"""Width kept for the first keys: less important numbers give way to them."""


class Status(Static):
    """One line: numbers on the left, as many keys as fit on the right."""

    is_following: reactive[bool] = reactive(True)
    is_in_rack: reactive[bool] = reactive(False)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(markup=False, id=id)
        self._variants: tuple[Content, ...] = (Content(""),)
        self._is_busy = False

    def show(self, phase: Phase, meter: Meter, base: BaseInfo | None, *, is_waiting: bool) -> None:
        """Show the state of a session."""
        self._is_busy = phase in (Phase.PREFILL, Phase.WRITING)
        self._variants = state_contents(phase, meter, base, is_waiting=is_waiting)
        self.refresh()

    def render(self) -> Content:
        """Return the line in the width of the widget."""
        width = self.content_size.width
        hints = self._hints()
        enough = (c for c in self._variants if c.cell_length + _KEYS_WIDTH <= width)
        left = next(enough, self._variants[-1])
        room = width - left.cell_length - _GAP
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
        blank = max(0, width - left.cell_length - right.cell_length)
        return left + Content(" " * blank) + right.stylize_before(MUTED)

    def _hints(self) -> list[tuple[str, str]]:
        hints = [("ctrl+end", "latest")] if not self.is_following else []
        if self.is_in_rack:
            return [*hints, *hints_of(Place.RACK), ("Esc", "prompt"), ("?", "keys")]
        chat = hints_of(Place.CHAT)
        order = ["rack", "keys", "bypass", "again", "copy", "models", "new", "find", "quit"]
        if self._is_busy:
            order.insert(0, "stop")
        words = {word: keys for keys, word in chat}
        return [*hints, *((words[word], word) for word in order if word in words)]


def state_contents(
    phase: Phase, meter: Meter, base: BaseInfo | None, *, is_waiting: bool
) -> tuple[Content, ...]:
    """Return the left part, such as `62 tok/s · context 512 / 4096 · swap 9 ms · writing`.

    The variants are ordered from the fullest to the shortest, for widths where the fuller do not
    fit.
    """
    if phase is Phase.LOADING:
        bar = progress_bar(meter.load_fraction, _BAR_WIDTH)
        waiting = " · your message is next" if is_waiting else ""
        return (
            Content.assemble(
                Content("loading "), bar, Content(f" {meter.load_fraction:.0%}{waiting}")
            ),
        )
    if phase is Phase.EMPTY:
        return (Content.styled("no model loaded", "$text-warning"),)
    numbers: list[Content] = []
    if phase is Phase.PREFILL and meter.n_prompt:
        numbers.append(Content(f"reading {meter.n_prefilled} / {meter.n_prompt}"))
    elif meter.tokens_per_s > 0:
        numbers.append(Content(f"{meter.tokens_per_s:.0f} tok/s"))
    if base is not None:
        numbers.append(Content(f"context {meter.n_context} / {base.n_ctx}"))
    swap = [Content(f"swap {_milliseconds(meter.swap_s)}")] if meter.swap_s > 0 else []
    states = _state_contents(phase, meter)
    dot = Content(" · ")
    return (
        *(dot.join([*numbers, *swap, *state]) for state in states),
        *(dot.join([*numbers, *state]) for state in states),
        dot.join(states[-1] or numbers),
    )


def _state_contents(phase: Phase, meter: Meter) -> list[list[Content]]:
    """Return the variants of the current state, each at most one item, the longest first."""
    if phase is Phase.PREFILL:
        return [[] if meter.n_prompt else [Content("reading")]]
    if phase is Phase.WRITING:
        return [[Content("writing")]]
    if meter.n_prepared < meter.n_to_prepare:
        count = Content(f"{meter.n_prepared} / {meter.n_to_prepare}")
        bar = progress_bar(meter.n_prepared / meter.n_to_prepare, _SMALL_BAR_WIDTH)
        word = Content("preparing ")
        return [[Content.assemble(word, bar, Content(" "), count)], [word + count]]
    return [[Content("stopped" if meter.is_stopped else "ready")]]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "under 1 ms"
