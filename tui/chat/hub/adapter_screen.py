"""The screen of one repository: its card, whether its adapters fit, and pulling one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from threading import Event
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.errors import Cancelled, EngineError
from engine.hub.search.fit import Fit, Verdict
from engine.hub.search.search import Repository
from engine.protocol.adapters import Adapters
from engine.resolve.adapter import NewAdapter
from engine.resolve.hub_adapter import is_pulled
from engine.resolve.watch import Watch
from engine.stack import AdapterStack
from modelfiles.errors import ModelfilesError
from tui.chat.hub.page import (
    Found,
    card_of,
    choices_content,
    facts_content,
    looked_up,
    question_of,
    verdict_content,
)
from tui.chat.hub.transfer import Transfer
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.parts.background import in_background
from tui.chat.parts.bar import progress_bar
from tui.chat.themes import MUTED
from tui.chat.transcript.markdown.body import MarkdownBody
from tui.text.sanitize import printable, printable_line

_REFRESH_S = 0.1


class Step(Enum):
    """Step of the dialog that the user has reached."""

    LOOKING = auto()
    ASKED = auto()
    PULLING = auto()


class HubAdapterScreen(ModalScreen[NewAdapter | None]):
    """Returns the adapter that was pulled, ready for the rack, or None.

    Args:
        repository: The repository as the search found it.
        base: The name of the base that adapters are for.
        adapters: Judges, pulls and converts adapters for it.
        stack: Returns the adapters in the rack.
        home: Folder of the records of pulled adapters and of converted ones.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.HUB_ADAPTER))

    def __init__(
        self,
        repository: Repository,
        base: str,
        adapters: Adapters,
        stack: Callable[[], AdapterStack],
        home: Path,
    ) -> None:
        super().__init__()
        self._repository = repository
        self._base = base
        self._adapters = adapters
        self._stack = stack
        self._home = home
        self._found: Found | None = None
        self._has_card = False
        self._index = 0
        self._fits: dict[int, Fit] = {}
        self._problem = ""
        self._step = Step.LOOKING
        self._is_here = False
        """Whether the chosen adapter is on this machine already."""
        self._stop = Event()
        """Set when the adapter being pulled is no longer wanted."""
        self._transfer = Transfer(0.0)
        self._fraction: float | None = None
        """Fraction of the current conversion that is done, or None."""
        self._facts = Static("", markup=False, id="hub-facts")
        self._choices = Static("", markup=False, id="hub-choices")
        self._verdict = Static("", markup=False, id="hub-verdict")
        self._doing = Static("", markup=False, id="hub-doing")
        self._card = VerticalScroll(id="hub-card", can_focus=False)

    def compose(self) -> ComposeResult:
        """Lay out the facts, the adapters, the verdict, the question or progress, and the card."""
        with Vertical(classes="dialog", id="hub-adapter") as box:
            box.border_title = printable_line(self._repository.name)
            yield self._facts
            yield self._choices
            yield self._verdict
            yield self._doing
            yield self._card

    def on_mount(self) -> None:
        """Start the look-up."""
        self.set_interval(_REFRESH_S, self._show_doing)
        # Not mounted before this returns, and the Hub may take seconds to answer.
        self.call_after_refresh(self._show)
        self._look()

    def on_unmount(self) -> None:
        """Let the thread of a pull end."""
        self._stop.set()

    @property
    def is_complete(self) -> bool:
        """Whether every request to the Hub has ended."""
        is_known = self._found is not None and (
            not self._found.choices or self._index in self._fits
        )
        is_read = self._has_card or self._found is None
        return self._step is not Step.PULLING and ((is_known and is_read) or bool(self._problem))

    # Requests to the Hub --------------------------------------------------------------------

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        self._problem = ""
        name = self._repository.name
        try:
            self._found = found = await in_background(lambda: looked_up(name))
        except EngineError as error:
            self._fail(str(error))
            return
        self._show()
        self._judge()
        card = await in_background(lambda: card_of(found))
        await self._card.mount(MarkdownBody(printable(card), is_over=True))
        self._has_card = True

    @work(group="judge")
    async def _judge(self) -> None:
        """Judge the chosen adapter; the verdict is kept even if another one is chosen meanwhile."""
        found, index = self._found, self._index
        if found is None or not found.choices or index in self._fits:
            return
        try:
            fit = await in_background(lambda: self._adapters.fit(found.remote(index)))
        except EngineError as error:
            if index == self._index:
                self._fail(str(error))
            return
        self._fits[index] = fit
        self._show()

    @work(exclusive=True, group="pull")
    async def _pull(self) -> None:
        found = self._found
        if found is None:
            return
        self._stop = stop = Event()
        self._transfer = transfer = Transfer(time.monotonic())
        self._fraction, self._step, self._problem = None, Step.PULLING, ""
        self._show()
        remote = found.remote(self._index)

        def progressed(fraction: float) -> None:
            self._fraction = fraction

        watch = Watch(transfer.took, progressed, stop.is_set)
        try:
            new = await in_background(
                lambda: self._adapters.find(remote, self._stack, self._home, watch)
            )
        except Cancelled:
            return
        except (EngineError, ModelfilesError) as error:
            if not stop.is_set():
                self._step = Step.LOOKING
                self._fail(str(error))
            return
        if not stop.is_set():
            self.dismiss(new)

    # Actions of the user --------------------------------------------------------------------

    def action_go_on(self) -> None:
        """Ask whether to pull, then pull; after an error try again."""
        found = self._found
        if self._step is Step.PULLING:
            return
        if self._problem:
            self._try_again()
        elif found is None or not found.choices:
            return
        elif (fit := self._fits.get(self._index)) is None:
            self._say("Whether it fits is still being checked.")
        elif fit.verdict is Verdict.MISFIT:
            self._say("What does not fit this base cannot be put into the rack.")
        elif self._step is Step.ASKED:
            self._pull()
        else:
            self._is_here = is_pulled(found.remote(self._index), self._home)
            self._step = Step.ASKED
            self._show()

    def _try_again(self) -> None:
        self._problem = ""
        self._show()
        if self._found is None:
            self._look()
        else:
            self._judge()

    def action_choose(self, step: int) -> None:
        """Choose the adapter before or after, wrapping around."""
        found = self._found
        if found is None or len(found.choices) < 2 or self._step is Step.PULLING:
            return
        self._index = (self._index + step) % len(found.choices)
        self._step, self._problem = Step.LOOKING, ""
        self._show()
        self._judge()

    def action_scroll(self, step: int) -> None:
        """Scroll the card by a line."""
        self._card.scroll_relative(y=step, animate=False)

    def action_page(self, step: int) -> None:
        """Scroll the card by a page."""
        if step < 0:
            self._card.scroll_page_up(animate=False)
        else:
            self._card.scroll_page_down(animate=False)

    def action_leave(self) -> None:
        """Cancel the pull or the question; without either, go back to the list."""
        match self._step:
            case Step.PULLING:
                # The thread ends at its next chunk and removes the part downloaded by then.
                self._stop.set()
                self._step = Step.LOOKING
                self._show()
                self._say("Cancelled: nothing was put into the rack.")
            case Step.ASKED:
                self._step = Step.LOOKING
                self._show()
            case Step.LOOKING:
                self.dismiss(None)

    # Display --------------------------------------------------------------------------------

    def _fail(self, sentence: str) -> None:
        self._problem = sentence
        self._show()

    def _say(self, sentence: str) -> None:
        self.notify(sentence, markup=False)

    def _show(self) -> None:
        if not self.is_mounted:
            return
        self._facts.update(facts_content(self._repository, datetime.now(UTC)))
        choices = self._found.choices if self._found is not None else ()
        self._choices.display = bool(choices)
        self._choices.update(choices_content(choices, self._index))
        self._verdict.update(self._verdict_content())
        self._show_doing()
        self.query_one("#hub-adapter").border_subtitle = self._keys_text()

    def _keys_text(self) -> str:
        if self._step is Step.PULLING:
            return "Esc cancels"
        if self._step is Step.ASKED:
            return "Enter pulls it · Esc does not"
        choices = self._found.choices if self._found is not None else ()
        fit = self._fits.get(self._index)
        is_usable = fit is not None and fit.verdict is not Verdict.MISFIT
        enter = "Enter tries again" if self._problem else "Enter pulls" if is_usable else ""
        several = "←→ adapter" if len(choices) > 1 else ""
        words = (several, enter, "↑↓ scroll", "Esc goes back")
        return " · ".join(word for word in words if word)

    def _verdict_content(self) -> Content:
        if self._problem:
            sentence = printable_line(self._problem)
            return Content.styled(f"{sentence} Enter tries again.", "$text-error")
        found = self._found
        if found is None:
            return Content.styled("asking the Hub…", MUTED)
        if not found.choices:
            return Content.styled(
                "It holds no adapter: neither a GGUF file nor adapter_config.json with weights "
                "beside it.",
                "$text-warning",
            )
        return verdict_content(self._fits.get(self._index), self._base)

    def _show_doing(self) -> None:
        content = self._doing_content()
        self._doing.display = bool(content.plain)
        self._doing.update(content)

    def _doing_content(self) -> Content:
        found = self._found
        if self._step is Step.PULLING:
            if self._fraction is not None:
                bar = progress_bar(self._fraction, 16)
                return Content.assemble(bar, Content(f" converting {self._fraction:.0%}"))
            return self._transfer.content(time.monotonic(), self._doing.content_size.width)
        if self._step is not Step.ASKED or found is None:
            return Content("")
        question = question_of(
            found.choices[self._index], self._fits[self._index], is_here=self._is_here
        )
        return Content.styled(question, "bold $foreground") + Content(" Enter does, Esc does not.")
