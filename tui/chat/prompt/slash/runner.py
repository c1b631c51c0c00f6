"""Carry out the commands of the chat on its session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from engine.errors import EngineError
from modelfiles.errors import ModelfilesError
from modelfiles.model import Model
from tui.chat.prompt.slash.actions import help_text, model_of_now, models_text, refusal, shown_text
from tui.chat.prompt.slash.parser import SlashCommand, SlashError, parse
from tui.chat.prompt.slash.table import SETTING_KEYS, Verb
from tui.chat.session.observer import Severity
from tui.chat.session.session import ChatSession
from tui.settings import setting_of, settings_text
from tui.text.units import size_text

if TYPE_CHECKING:
    from modelfiles.library import Library
    from modelfiles.store.created import ModelStore

_LARGE_BYTES = 256 * 2**20
"""Size of a model from which its copying is announced, because it may take seconds."""


class Host(Protocol):
    """What a command needs of the screen."""

    def told(self, sentence: str, severity: Severity) -> None:
        """Show a notice."""

    def open_model(self, model: Model) -> None:
        """Load a model in the background."""

    def action_help(self) -> None:
        """Show the keys."""

    def open_hub(self, words: str) -> None:
        """Open the screen that finds adapters on the Hub, with these words."""

    async def action_quit(self) -> None:
        """Quit."""


class SlashRunner:
    """Carries out one command after another, in the order they were sent."""

    def __init__(
        self,
        session: ChatSession,
        host: Host,
        library: Callable[[], Library] | None,
        store: Callable[[], ModelStore] | None,
        home: Path | None = None,
    ) -> None:
        self._session = session
        self._host = host
        self._library = library
        self._store = store
        self._home = home
        self._turn = asyncio.Lock()

    def model_names(self) -> tuple[str, ...]:
        """Return the names that `/load` takes; empty if the models cannot be read."""
        try:
            models = self._library().list() if self._library is not None else []
        except ModelfilesError:
            # A completion cannot show errors; `/load` itself reports what is wrong.
            return ()
        return tuple(m.name.removesuffix(":latest") for m in models if m.problem is None)

    def read(self, text: str) -> SlashCommand | str:
        """Return the command in `text`, or the message to send.

        Raises `SlashError` for a command that is wrong or has to wait.
        """
        wanted = parse(text)
        why_not = (
            refusal(wanted.verb, self._session.phase) if isinstance(wanted, SlashCommand) else None
        )
        if why_not is not None:
            raise SlashError(why_not)
        return wanted

    async def run(self, command: SlashCommand) -> None:
        """Carry out a command; errors become notices."""
        try:
            async with self._turn:
                await self._run(command)
        except (EngineError, ModelfilesError) as error:
            self._host.told(str(error), "error")
        await self._session.answer_waiting()

    async def _run(self, command: SlashCommand) -> None:
        session = self._session
        match command.verb:
            case Verb.SET_PARAMETER:
                await self._set_parameter(command)
            case Verb.SET_SYSTEM:
                session.set_system(command.argument or None)
                self._say("Set system message." if command.argument else "No system message.")
            case Verb.SET_THINK | Verb.SET_NOTHINK:
                session.thinks = command.verb is Verb.SET_THINK
                self._say("Set 'think' mode." if session.thinks else "Set 'nothink' mode.")
            case Verb.SET_FUSE | Verb.SET_SWAP | Verb.SET_LIVE | Verb.SET_PREPARE:
                await self._set_setting(SETTING_KEYS[command.verb], command.argument)
            case Verb.SHOW_SETTINGS:
                session.note(command.typed, settings_text(session.settings, self._home))
            case Verb.LOAD:
                if self._library is not None:
                    model = await asyncio.to_thread(self._library().get, command.argument)
                    self._host.open_model(model)
            case Verb.SAVE:
                await self._save(command.argument)
            case Verb.CLEAR:
                if session.new_chat():
                    self._say("Cleared session context")
            case Verb.LIST:
                if self._library is not None:
                    models = await asyncio.to_thread(self._library().list)
                    session.note(command.typed, models_text(models, datetime.now(UTC)))
            case Verb.HUB:
                self._host.open_hub(command.argument)
            case Verb.BYE:
                await self._host.action_quit()
            case Verb.HELP if command.argument == "shortcuts":
                self._host.action_help()
            case Verb.HELP:
                session.note(command.typed, help_text(command.argument))
            case _:
                self._show(command)

    async def _set_parameter(self, command: SlashCommand) -> None:
        session = self._session
        if session.model is None:
            return
        ((name, value), *more) = command.parameters.lines()
        parameters = command.parameters.over(session.model.parameters)
        loads_again = session.loads_again(parameters)
        if not await session.set_parameters(parameters):
            return
        values = " ".join([value, *(text for _, text in more)])
        again = " The base was loaded again." if loads_again else ""
        self._say(f"Set parameter '{name}' to '{values}'.{again}")

    async def _set_setting(self, key: str, choice: str) -> None:
        value = setting_of(key).choices[choice]
        if await self._session.configure(lambda now: msgspec.structs.replace(now, **{key: value})):
            self._say(f"Set {key} to '{choice}' until you quit.")

    def _show(self, command: SlashCommand) -> None:
        model, base = self._model_of_now(), self._session.base
        if model is not None and base is not None:
            text = shown_text(command.verb, model, self._session.mix.stack, base.facts)
            self._session.note(command.typed, text)

    async def _save(self, name: str) -> None:
        model = self._model_of_now()
        if model is None or self._store is None:
            return
        size_bytes = model.base.stat().st_size if model.base.is_file() else 0
        if size_bytes >= _LARGE_BYTES:
            self._say(f"Saving '{name}': up to {size_text(size_bytes)} are copied.")
        await asyncio.to_thread(self._store().create, name, model)
        bypassed = " Its adapters are not bypassed." if self._session.mix.is_bypassed else ""
        self._say(f"Created new model '{name}'.{bypassed}")

    def _model_of_now(self) -> Model | None:
        session = self._session
        if session.model is None:
            return None
        return model_of_now(session.model, session.mix.stack, session.conversation)

    def _say(self, sentence: str) -> None:
        self._host.told(sentence, "information")
