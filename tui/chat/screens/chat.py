"""The chat: conversation, rack, prompt and status, wired to one session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from engine.protocol.engine import Engine
from modelfiles.model import Model
from tui.chat.keys.all_keys import bindings_of
from tui.chat.keys.key import Place
from tui.chat.prompt.prompt import Prompt
from tui.chat.prompt.slash.parser import SlashCommand, SlashError
from tui.chat.prompt.slash.runner import SlashRunner
from tui.chat.prompt.suggestions import Suggestions
from tui.chat.rack.rack import Rack
from tui.chat.screens.copying import CopyingScreen
from tui.chat.screens.dialogs import RackScreens
from tui.chat.screens.drawing import Drawing
from tui.chat.screens.help import HelpScreen
from tui.chat.screens.status import Status
from tui.chat.screens.title import Title
from tui.chat.session.meter import Phase
from tui.chat.session.observer import Severity
from tui.chat.session.session import ChatSession
from tui.chat.transcript.message import AnswerView
from tui.chat.transcript.thought import THOUGHTS_UNFOLDED
from tui.chat.transcript.transcript import ConversationView
from tui.conversation import Answer, Entry
from tui.settings import Settings, toggled_live
from tui.text.sanitize import printable_line

if TYPE_CHECKING:
    from modelfiles.library import Library
    from modelfiles.store.created import ModelStore

WELCOME = (
    "Type a message and press Enter. Tab goes to the adapters, F1 shows all keys, /? the commands."
)


LIVE_ON = "Live is on: a change applies from the next token (approximate)."
LIVE_OFF = "Live is off: a change applies from the next answer."


class ChatScreen(CopyingScreen):
    """Shows a session and turns keys into its methods; it decides nothing about the chat.

    Args:
        settings: Settings of the session.
        home: Folder of the settings file and of the engine's cache; None for neither.
        warning: Warning to show at the start; empty for none.
    """

    BINDINGS: ClassVar[list[BindingType]] = list(bindings_of(Place.CHAT))

    def __init__(
        self,
        engine: Engine,
        model: Model | None,
        library: Callable[[], Library] | None = None,
        store: Callable[[], ModelStore] | None = None,
        *,
        settings: Settings = Settings(),  # noqa: B008  # immutable
        home: Path | None = None,
        warning: str = "",
    ) -> None:
        super().__init__()
        self.session = ChatSession(
            engine,
            self,
            settings=settings,
            cache_folder=None if home is None else home / "cache",
        )
        self._warning = warning
        self.apply_delay_s = 0.1
        """Pause after the last change before the engine is asked, so that a held key asks once."""
        self._first_model = model
        self._library = library
        self._commands = SlashRunner(self.session, self, library, store, home)
        self.rack_screens = RackScreens(self, self.session, home, self.told, self._apply)
        self._apply_timer: Timer | None = None
        self._drawing = Drawing()
        self._title = Title(id="title")
        self._conversation = ConversationView((), id="conversation")
        self._prompt = Prompt(id="prompt")
        self._suggestions = Suggestions(self._commands.model_names, id="suggestions")
        self._rack = Rack(id="rack")
        self._status = Status(id="status")

    def compose(self) -> ComposeResult:
        """Lay out the screen."""
        with Horizontal(id="main"):
            with Vertical(id="left"):
                yield self._title
                yield self._conversation
                yield self._suggestions
                with Horizontal(id="prompt-row"):
                    yield Static(">", markup=False, id="prompt-mark")
                    yield self._prompt
            yield self._rack
        yield self._status

    def on_mount(self) -> None:
        """Show the first frame, then load the model."""
        self._prompt.focus()
        self.session_changed()
        self._draw()
        self.facts_changed()
        if self._warning:
            self.told(self._warning, "warning")
        if self._first_model is not None:
            self.session.expect(self._first_model)
            self.call_after_refresh(self.open_model, self._first_model)

    def open_model(self, model: Model) -> None:
        """Load a model in the background."""
        self._title.show(model.name, "loading")
        self._open(model)

    @work(group="open")
    async def _open(self, model: Model) -> None:
        await self.session.open(model)
        self._show_title()

    @work(group="answer")
    async def _answer(self) -> None:
        await self.session.answer()

    @work(group="apply")
    async def _apply(self) -> None:
        await self.session.apply_mix()

    @work(group="draw", exclusive=True)
    async def _draw(self) -> None:
        await self._drawing.run()

    @property
    def is_drawn(self) -> bool:
        """Whether every event of the session is on the screen."""
        return self._drawing.is_idle

    # Events of the session ------------------------------------------------------------------

    def session_changed(self) -> None:
        """Show the phase and the numbers."""
        session = self.session
        self._status.show(session.phase, session.meter, session.base, is_waiting=session.is_waiting)

    def mix_changed(self) -> None:
        """Show the mix in the rack."""
        mix, state = self.session.mix, self.session.stack_state
        self._drawing.later(lambda: self._rack.show(mix, state))

    def facts_changed(self) -> None:
        """Show what is known of the stack."""
        state = self.session.stack_state
        self._drawing.later(lambda: self._rack.tell(state))

    def chat_restarted(self) -> None:
        """Show the new conversation."""
        entries = self.session.conversation.entries
        self._drawing.later(lambda: self._conversation.show_all(entries, WELCOME))

    def entry_added(self, entry: Entry) -> None:
        """Show a message at the end."""
        self._drawing.later(lambda: self._conversation.add(entry))

    def entry_removed(self, entry: Entry) -> None:
        """Remove a message from the conversation."""
        self._drawing.later(lambda: self._conversation.remove_entry(entry))

    def answer_grew(self, answer: Answer) -> None:
        """Pass the longer text to its message."""
        self._drawing.later(lambda: self._grow(answer))

    def answer_ended(self, answer: Answer) -> None:
        """Show how the answer ended."""
        self._drawing.later(lambda: self._end(answer))

    def told(self, sentence: str, severity: Severity) -> None:
        """Show a notice."""
        self.notify(printable_line(sentence), severity=severity, markup=False)

    def _grow(self, answer: Answer) -> None:
        view = self._conversation.view_of(answer)
        if isinstance(view, AnswerView):
            view.grow(answer)

    def _end(self, answer: Answer) -> None:
        view = self._conversation.view_of(answer)
        if isinstance(view, AnswerView):
            view.end(answer)

    # Actions of the user --------------------------------------------------------------------

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        try:
            wanted: SlashCommand | str | None = self._commands.read(event.text)
        except SlashError as error:
            self.told(str(error), "warning")
            wanted = None
        if isinstance(wanted, SlashCommand):
            self._obey(wanted)
        elif wanted is not None and self.session.ask(wanted):
            self._answer()
        else:
            self._prompt.give_back(event.text)

    @work(group="obey")
    async def _obey(self, command: SlashCommand) -> None:
        await self._commands.run(command)

    @on(Prompt.Changed)
    def _typed(self) -> None:
        self._suggestions.suggest(self._prompt.text)

    @on(Rack.ChangeWanted)
    def _change_wanted(self, event: Rack.ChangeWanted) -> None:
        if self.session.change_mix(event.change(self.session.mix)):
            self._apply_soon()

    @on(Rack.AddWanted)
    def _add_wanted(self) -> None:
        self.rack_screens.add()

    @on(Rack.HubWanted)
    def _hub_wanted(self) -> None:
        self.rack_screens.find()

    @on(Rack.InspectWanted)
    def _inspect_wanted(self, event: Rack.InspectWanted) -> None:
        self.rack_screens.inspect(event.index)

    @on(Rack.LiveWanted)
    @work(group="configure")
    async def _live_wanted(self) -> None:
        if await self.session.configure(toggled_live):
            self.told(LIVE_ON if self.session.settings.live else LIVE_OFF, "information")

    @on(Rack.Told)
    def _rack_told(self, event: Rack.Told) -> None:
        self.told(event.sentence, "warning" if event.is_warning else "information")

    @on(Rack.Left)
    def _rack_left(self) -> None:
        self.set_focus(self._prompt)

    @on(Rack.HelpWanted)
    def _help_wanted(self) -> None:
        self.action_help()

    @on(ConversationView.FollowingChanged)
    def _following_changed(self, event: ConversationView.FollowingChanged) -> None:
        self._status.is_following = event.is_following

    def on_descendant_focus(self) -> None:
        """Show the keys of the focused part."""
        self._status.is_in_rack = self._is_in_rack
        self.set_class(self._is_in_rack, "-in-rack")

    @work(group="stop", exclusive=True)
    async def action_stop(self) -> None:
        """Stop the answer; its text stays."""
        await self.session.stop()

    def action_switch_focus(self) -> None:
        """Move between the prompt and the rack; while a command is typed, complete it."""
        # At once, not with the widget's deferred `focus`: the next key is for the new place.
        if self._is_in_rack:
            self.set_focus(self._prompt)
        elif self._prompt.text.startswith("/"):
            # In the prompt's turn, so that letters typed just before count, as they do for Enter.
            self._prompt.call_later(self._complete_or_leave)
        else:
            self._enter_rack()

    def _complete_or_leave(self) -> None:
        self._suggestions.suggest(self._prompt.text)
        if self._suggestions.has_candidates:
            self._prompt.put(self._suggestions.completed)
        else:
            self._enter_rack()

    def _enter_rack(self) -> None:
        # On a narrow terminal the rack is visible only while it is used.
        self.add_class("-in-rack")
        self.set_focus(self._rack)

    def action_bypass(self) -> None:
        """Bypass the adapters, or restore the stack."""
        if not len(self.session.mix.stack):
            self.told("No adapters to bypass.", "warning")
        elif self.session.change_mix(self.session.mix.with_bypass_toggled()):
            self._apply()

    def action_regenerate(self) -> None:
        """Answer the last message again."""
        if self.session.ask_again():
            self._answer()

    def action_toggle_thoughts(self) -> None:
        """Show or fold what the model thought before its answers."""
        self.toggle_class(THOUGHTS_UNFOLDED)
        for view in self.query(AnswerView):
            view.show_thought()

    def action_new_chat(self) -> None:
        """Start a new conversation under the same stack."""
        self.session.new_chat()
        self._prompt.focus()

    def action_models(self) -> None:
        """Choose another model."""
        if self.session.is_answering or self.session.phase is Phase.LOADING:
            self.told("Wait for the model or the answer (Esc stops it) first.", "warning")
        elif self._library is not None:
            from tui.chat.screens.models import ModelsScreen

            current = self.session.model.name if self.session.model else ""
            self.app.push_screen(ModelsScreen(self._library(), current), self._chosen)

    def _chosen(self, model: Model | None) -> None:
        if model is not None:
            self.open_model(model)

    def action_hub(self) -> None:
        """Open the screen that finds adapters on the Hub."""
        self.rack_screens.find()

    def open_hub(self, words: str) -> None:
        """Open the screen that finds adapters on the Hub, with these words."""
        self.rack_screens.find(words)

    def action_page_up(self) -> None:
        """Scroll the conversation up."""
        self._conversation.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        """Scroll the conversation down."""
        self._conversation.scroll_page_down(animate=False)

    def action_first(self) -> None:
        """Go to the first message."""
        self._drawing.later(self._conversation.go_to_first)

    def action_latest(self) -> None:
        """Go to the latest message and follow it."""
        self._drawing.later(self._conversation.go_to_latest)

    def action_palette(self) -> None:
        """Open the palette of commands and themes."""
        self.app.action_command_palette()

    def action_help(self) -> None:
        """Show the keys, first those of the rack if it is used."""
        self.app.push_screen(HelpScreen(Place.RACK if self._is_in_rack else None))

    async def action_quit(self) -> None:
        """Quit."""
        await self.app.action_quit()

    @property
    def _is_in_rack(self) -> bool:
        return self._rack.has_focus_within

    def _apply_soon(self) -> None:
        if self._apply_timer is not None:
            self._apply_timer.stop()
        self._apply_timer = self.set_timer(self.apply_delay_s, self._apply)

    def _show_title(self) -> None:
        session = self.session
        if session.model is None:
            return
        state = session.base.description if session.base else "not loaded"
        self._title.show(session.model.name, state)
