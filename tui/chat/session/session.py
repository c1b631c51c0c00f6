"""One chat without a screen: keep the conversation, the mix and the engine in agreement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from engine.errors import EngineError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.engine import Engine
from engine.protocol.events import Finished, Tokens
from engine.protocol.values import BaseInfo
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tui.chat.session.answer_in_progress import Answering
from tui.chat.session.apply_mix import Mixing
from tui.chat.session.engine_limits import why_not_mixed, why_not_set
from tui.chat.session.idle_work import Settling
from tui.chat.session.loaded_base import Loading
from tui.chat.session.meter import Meter, Phase
from tui.chat.session.mix import Mix
from tui.chat.session.observer import ANSWERING, NO_MODEL, Observer, Severity
from tui.chat.session.stack_facts import StackFacts, StackState
from tui.conversation import Conversation
from tui.settings import Settings

STACK_PAUSE_S = 0.3
"""Pause after a change of the stack before preparing for it, because scales change in steps."""


class ChatSession:
    """Everything the chat does, without a screen.

    The mix is shown at once and applied later (`apply_mix`): not while an answer streams, unless
    the settings say `live`. If the engine refuses a mix, the last accepted one comes back. While
    the chat is idle, the engine prepares for the next answer.

    Args:
        settings: Settings sent to the engine before the first load; `configure` changes them.
        cache_folder: Absolute path of the engine's folder on disk; None for no such folder.
    """

    def __init__(
        self,
        engine: Engine,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
        *,
        settings: Settings = Settings(),  # noqa: B008  # immutable
        cache_folder: Path | None = None,
    ) -> None:
        self.engine = engine
        self.conversation = Conversation()
        self.phase = Phase.EMPTY
        self.meter = Meter()
        self.model: Model | None = None
        self.thinks: bool | None = None
        """Whether a reasoning model is asked to think; None leaves it to its template."""
        self._observer = observer
        self._clock = clock
        self._mixing = Mixing(self._set_stack, observer)
        self._is_waiting = False
        self._has_told_next = False
        self._wants_stop = False
        self._loading = Loading(engine, settings, cache_folder)
        self._expected: Model | None = None
        self._is_due = False
        self._facts = StackFacts()
        self._settling = Settling(engine, observer, self._facts, self.meter)
        self._answering: Answering | None = None
        self._told_why: set[str] = set()

    @property
    def base(self) -> BaseInfo | None:
        """The loaded base, or None."""
        return self._loading.info

    @property
    def settings(self) -> Settings:
        """The settings that the engine has accepted."""
        return self._loading.settings

    @property
    def mix(self) -> Mix:
        """The displayed mix."""
        return self._mixing.shown

    @property
    def is_answering(self) -> bool:
        """Whether an answer is due, being prepared or written."""
        return self._is_due or self.phase in (Phase.PREFILL, Phase.WRITING)

    @property
    def is_waiting(self) -> bool:
        """Whether a question waits for the model to be loaded."""
        return self._is_waiting

    @property
    def is_applied(self) -> bool:
        """Whether the engine uses the displayed mix."""
        return self.mix == self._mixing.accepted

    @property
    def stack_state(self) -> StackState:
        """What is known of the stack of the displayed mix."""
        return self._facts.state(
            self.mix.in_force,
            swap=self.settings.swap,
            is_live=self.settings.live,
            is_mixed=self._answering is not None and self._answering.is_changed,
        )

    def expect(self, model: Model) -> None:
        """Announce the model that `open` will load first, so that questions wait for it."""
        self.model = self._expected = model
        self._restart()
        self._enter(Phase.LOADING)

    async def open(self, model: Model) -> None:
        """Load a model, or only swap the stack if its base is already loaded."""
        is_expected = model is self._expected
        self._expected = None
        if (self.is_answering or self.phase is Phase.LOADING) and not is_expected:
            self._tell("Wait for the answer or stop it (Esc) before changing the model.", "warning")
            return
        before = Phase.EMPTY if is_expected else self.phase
        is_first = self.model is None
        self._settling.cancel()
        self._enter(Phase.LOADING)
        self.meter.load_fraction = 0.0
        if is_first:
            self.model = model
            self._restart()
        try:
            # The header checks report a wrong file before gigabytes are read in vain.
            stack, sentences = await asyncio.to_thread(self.engine.adapters(model).check)
            if not self._loading.is_loaded(model):
                await self._load(model)
        except EngineError as error:
            self._is_waiting = False
            self._enter(before)
            self._tell(str(error), "error")
            self._settle(0.0)
            return
        for sentence in sentences:
            self._tell(sentence, "warning")
        self.model = model
        if not is_first:
            self.conversation.system = model.system
        self._mixing.shown = Mix(stack)
        self._observer.mix_changed()
        self._enter(Phase.READY)
        await self._mixing.apply()
        self._settle(0.0)
        await self.answer_waiting()

    async def close(self) -> None:
        """End the background work; the engine stays open."""
        await self._settling.end()

    async def configure(self, change: Callable[[Settings], Settings]) -> bool:
        """Use changed settings until the program ends; return False, with a notice, if refused."""
        why_not = why_not_set(self.engine.capabilities, self.settings, change(self.settings))
        if why_not:
            self._tell(why_not, "warning")
            return False
        self._settling.cancel()
        try:
            await self._loading.configure(change)
        except EngineError as error:
            self._tell(str(error), "error")
        else:
            self._observer.facts_changed()
            return True
        finally:
            await self.apply_mix()
        return False

    def new_chat(self) -> bool:
        """Start a new conversation under the same stack; refused while an answer is written."""
        if self.is_answering:
            self._tell(ANSWERING, "warning")
            return False
        self._is_waiting = False
        self.meter.restart()
        self.meter.n_context = 0
        self._facts.forget_chat()
        self._restart()
        self._observer.session_changed()
        self._observer.facts_changed()
        self._settle(0.0)
        return True

    def note(self, heading: str, text: str) -> None:
        """Show the output of a command at the end of the conversation."""
        self._observer.entry_added(self.conversation.note(heading, text))

    def set_system(self, system: str | None) -> None:
        """Use another system message from the next answer on; a new chat keeps it."""
        if self.model is not None:
            self.model = replace(self.model, system=system)
        self.conversation.system = system
        self._settle(0.0)

    async def set_parameters(self, parameters: Parameters) -> bool:
        """Use other parameters from the next answer on; the stack stays.

        If one of them affects how the base is loaded, the base is loaded again. If the engine
        refuses that, the old parameters stay, and False is returned with a notice.
        """
        if self.model is None or self.phase is not Phase.READY:
            self._tell("Parameters can be set once a model is loaded.", "warning")
            return False
        is_refused = False
        if self._loading.loads_again(parameters):
            self.meter.load_fraction = 0.0
            self._enter(Phase.LOADING)
            try:
                await self._load(replace(self.model, parameters=parameters))
            except EngineError as error:
                is_refused = True
                self._tell(str(error), "error")
            self._enter(Phase.READY)
        if not is_refused:
            self.model = replace(self.model, parameters=parameters)
        await self.apply_mix()
        return not is_refused

    def loads_again(self, parameters: Parameters) -> bool:
        """Return whether setting these parameters loads the base again."""
        return self._loading.loads_again(parameters)

    async def answer_waiting(self) -> None:
        """Answer the question that waited while a base was loaded, if there is one."""
        if self._is_waiting and self.phase is Phase.READY:
            self._is_waiting = False
            await self.answer()

    def ask(self, text: str) -> bool:
        """Add a question; return False, with a notice, if it cannot be taken now.

        True asks the caller to run `answer`, which does nothing while the model loads: the question
        then waits.
        """
        if self.is_answering:
            self._tell(ANSWERING, "warning")
            return False
        if self.phase is Phase.EMPTY:
            self._tell(NO_MODEL, "warning")
            return False
        if self._is_waiting:
            self._tell("A message is waiting for the model already.", "warning")
            return False
        self._settling.cancel()
        self._observer.entry_added(self.conversation.ask(text))
        if self.phase is Phase.LOADING:
            self._is_waiting = True
            self._observer.session_changed()
        else:
            self._is_due = True
        return True

    def ask_again(self) -> bool:
        """Take back the last answer; return True to ask the caller to run `answer`."""
        if self.is_answering:
            self._tell(ANSWERING, "warning")
            return False
        if self.phase is not Phase.READY:
            self._tell("The model is not loaded yet.", "warning")
            return False
        if self.conversation.last_question is None:
            self._tell("Nothing to answer again.", "warning")
            return False
        self._settling.cancel()
        for answer in self.conversation.take_back_answers():
            self._observer.entry_removed(answer)
        self._is_due = True
        return True

    async def answer(self) -> None:
        """Answer the last question under the displayed mix; return when the answer has ended."""
        if self.phase is Phase.LOADING:
            # The base began to be loaded again between the question and this call.
            self._is_waiting = True
        if self.phase is not Phase.READY or self.model is None:
            return
        model = self.model
        self.meter.restart()
        self._has_told_next = self._is_due = False
        self._enter(Phase.PREFILL)
        await self._settling.end()
        await self._mixing.apply()
        request = self._request(model)
        self._answering = writing = Answering(
            self.conversation, self.meter, self._facts, self._clock, model, self._mixing.accepted
        )
        self._observer.entry_added(writing.answer)
        try:
            async for event in self.engine.generate(request):
                writing.take(event)
                if isinstance(event, Tokens):
                    self._observer.answer_grew(writing.answer)
                    self.phase = Phase.WRITING
                if self._wants_stop and not isinstance(event, Finished):
                    # An engine that was still starting when Esc was pressed had no answer to stop.
                    await self.engine.cancel()
                self._observer.session_changed()
        except EngineError as error:
            writing.fail(str(error))
        finally:
            writing.give_up()
            self._answering = None
            self._wants_stop = False
            self._enter(Phase.READY)
            self._observer.answer_ended(writing.answer)
            self._observer.facts_changed()
        if writing.is_approximate and writing.why_approximate not in self._told_why:
            self._told_why.add(writing.why_approximate)
            self._tell(writing.why_approximate, "information")
        has_changed = await self._mixing.apply()
        self._settle(STACK_PAUSE_S if has_changed else 0.0)

    async def stop(self) -> bool:
        """Stop the answer; return False if none is being written."""
        if not self.is_answering:
            return False
        self._wants_stop = True
        await self.engine.cancel()
        return True

    def change_mix(self, mix: Mix) -> bool:
        """Show another mix; return True to ask the caller to run `apply_mix` soon.

        While an answer streams the mix is only shown, unless the settings say `live`: it is applied
        once the answer has ended.
        """
        if mix == self.mix:
            return False
        if why_not := why_not_mixed(self.engine.capabilities, self.mix.in_force, mix.in_force):
            self._tell(why_not, "warning")
            return False
        self._mixing.shown = mix
        self._settling.cancel()
        self._observer.mix_changed()
        if self.phase in (Phase.PREFILL, Phase.WRITING):
            if not self.settings.live and not self._has_told_next:
                self._has_told_next = True
                self._tell("Counts from the next answer. l applies it now.", "information")
            return self.settings.live
        return self.phase is Phase.READY

    async def apply_mix(self) -> None:
        """Make the engine use the displayed mix; if it refuses, the accepted one is shown again."""
        if self.phase is Phase.READY:
            await self._mixing.apply()
            self._settle(STACK_PAUSE_S)
        elif self._answering is not None and self.settings.live:
            await self._mixing.apply()

    async def _set_stack(self, mix: Mix) -> None:
        await self._settling.end()
        applied = await self.engine.set_stack(mix.in_force)
        self.meter.swap_s = applied.elapsed_s
        self._facts.formed(mix.in_force.digest, applied.form)
        if self._answering is not None:
            self._answering.change(mix)
        self._observer.facts_changed()
        self._observer.session_changed()

    async def _load(self, model: Model) -> None:
        """Load a model's base, which starts without a stack, and show the notices about it."""
        await self._settling.end()
        info = await self._loading.load(model, self._on_load_progress)
        self._mixing.accepted = Mix()
        self._facts.forget_base()
        self.meter.restart()
        self.meter.n_context, self.meter.swap_s = 0, 0.0
        for sentence in info.notices_for(has_template=bool(model.template)):
            self._tell(sentence, "warning")

    def _settle(self, delay_s: float) -> None:
        """Let the engine prepare for the next answer, replacing any earlier preparation."""
        model, can_prepare = self.model, self.engine.capabilities.can_prepare
        if model is not None and self.phase is Phase.READY and can_prepare:
            self._settling.begin(self._request(model), delay_s)

    def _request(self, model: Model) -> ChatRequest:
        """Return the conversation so far and how `model` is to answer it."""
        messages = self.conversation.prompt()
        return ChatRequest(messages, model.parameters, model.template, self.thinks)

    def _restart(self) -> None:
        if self.model is not None:
            model = self.model
            self.conversation.restart(model.system, model.messages, model.name)
            self._observer.chat_restarted()

    def _on_load_progress(self, fraction: float) -> None:
        self.meter.load_fraction = fraction
        self._observer.session_changed()

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self._observer.session_changed()

    def _tell(self, sentence: str, severity: Severity) -> None:
        self._observer.told(sentence, severity)
