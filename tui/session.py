"""One chat: the conversation, the mix and the engine, kept in agreement; screens only show it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from engine.errors import EngineError
from engine.protocol import BaseInfo, Finished, LoadSpec, PromptProgress, Tokens
from engine.seam import Engine
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tui.adapters import read_stack
from tui.conversation import Answer, AnswerState, Conversation
from tui.mix import Mix
from tui.observer import ANSWERING, NO_MODEL, Meter, Observer, Phase, Severity

_LOAD_PARAMETERS = (
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"),
    "draft_num_predict",
)


class ChatSession:
    """Everything the chat does, without a screen.

    The mix is shown at once and applied later (`apply_mix`): not while an answer streams. It is
    never one that the engine has refused: on an error the last accepted one comes back.
    """

    def __init__(
        self, engine: Engine, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.engine = engine
        self.conversation = Conversation()
        self.mix = Mix()
        self.phase = Phase.EMPTY
        self.meter = Meter()
        self.model: Model | None = None
        self.base: BaseInfo | None = None
        self.thinks: bool | None = None
        """Whether a reasoning model is asked to think; None leaves it to its template."""
        self._observer = observer
        self._clock = clock
        self._accepted = Mix()
        self._applying = asyncio.Lock()
        self._is_waiting = False
        self._has_told_next = False
        self._wants_stop = False
        self._spec: LoadSpec | None = None
        self._expected: Model | None = None
        self._is_due = False

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
        """Whether the engine uses the mix shown."""
        return self.mix == self._accepted

    def expect(self, model: Model) -> None:
        """Say which model `open` will load first: from now on a question waits for it."""
        self.model = self._expected = model
        self._restart()
        self._enter(Phase.LOADING)

    async def open(self, model: Model) -> None:
        """Load a model, or only swap the stack where the base is the one already loaded."""
        is_expected = model is self._expected
        self._expected = None
        if (self.is_answering or self.phase is Phase.LOADING) and not is_expected:
            self._tell("Wait for the answer or stop it (Esc) before changing the model.", "warning")
            return
        before, is_first = self.phase, self.model is None
        if is_expected:
            before = Phase.EMPTY
        spec = LoadSpec(str(model.base), _load_parameters(model.parameters))
        self._enter(Phase.LOADING)
        self.meter.load_fraction = 0.0
        if is_first:
            self.model = model
            self._restart()
        try:
            # The header checks name a wrong file before gigabytes are read for nothing.
            stack, sentences = await asyncio.to_thread(read_stack, model)
            if spec != self._spec:
                await self._load(spec)
        except EngineError as error:
            self._is_waiting = False
            self._enter(before)
            self._tell(str(error), "error")
            return
        for sentence in sentences:
            self._tell(sentence, "warning")
        self.model = model
        if not is_first:
            self.conversation.system = model.system
        self.mix = Mix(stack)
        self._observer.mix_changed()
        self._enter(Phase.READY)
        await self.apply_mix()
        if self._is_waiting:
            self._is_waiting = False
            await self.answer()

    def new_chat(self) -> bool:
        """Begin a new conversation under the same stack; refused while an answer is written."""
        if self.is_answering:
            self._tell(ANSWERING, "warning")
            return False
        self._is_waiting = False
        self.meter.n_context, self.meter.tokens_per_s, self.meter.is_stopped = 0, 0.0, False
        self._restart()
        self._observer.session_changed()
        return True

    def note(self, heading: str, text: str) -> None:
        """Show what a command has to say, at the end of the conversation."""
        self._observer.entry_added(self.conversation.note(heading, text))

    def set_system(self, system: str | None) -> None:
        """Use another system message from the next answer on; a new chat keeps it."""
        if self.model is not None:
            self.model = replace(self.model, system=system)
        self.conversation.system = system

    async def set_parameters(self, parameters: Parameters) -> bool:
        """Use other parameters from the next answer on; the stack stays.

        Where one of them decides how the base is loaded, the base is loaded again. False (and a
        notice) where the engine refuses that: the old parameters then stay.
        """
        if self.model is None or self.phase is not Phase.READY:
            self._tell("Parameters can be set once a model is loaded.", "warning")
            return False
        spec = LoadSpec(str(self.model.base), _load_parameters(parameters))
        is_refused = False
        if self.loads_again(parameters):
            self.meter.load_fraction = 0.0
            self._enter(Phase.LOADING)
            try:
                await self._load(spec)
            except EngineError as error:
                is_refused = True
                self._tell(str(error), "error")
            self._enter(Phase.READY)
        if not is_refused:
            self.model = replace(self.model, parameters=parameters)
        await self.apply_mix()
        return not is_refused

    def loads_again(self, parameters: Parameters) -> bool:
        """Whether setting these parameters loads the base again."""
        loaded = Parameters() if self._spec is None else self._spec.parameters
        return _load_parameters(parameters) != loaded

    async def answer_waiting(self) -> None:
        """Answer the question that has waited while the base was loaded again, if there is one."""
        if self._is_waiting and self.phase is Phase.READY:
            self._is_waiting = False
            await self.answer()

    def ask(self, text: str) -> bool:
        """Add a question; False (and a notice) where it cannot be taken now.

        True asks the caller to run `answer`, which does nothing while the model loads: the
        question then waits.
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
        self._observer.entry_added(self.conversation.ask(text))
        if self.phase is Phase.LOADING:
            self._is_waiting = True
            self._observer.session_changed()
        else:
            self._is_due = True
        return True

    def ask_again(self) -> bool:
        """Take back the answer to the last question; True asks the caller to run `answer`."""
        if self.is_answering:
            self._tell(ANSWERING, "warning")
            return False
        if self.phase is not Phase.READY:
            self._tell("The model is not loaded yet.", "warning")
            return False
        if self.conversation.last_question is None:
            self._tell("There is no message to answer again.", "warning")
            return False
        for answer in self.conversation.take_back_answers():
            self._observer.entry_removed(answer)
        self._is_due = True
        return True

    async def answer(self) -> None:
        """Answer the last question under the mix shown; ends when the answer has ended."""
        if self.phase is Phase.LOADING:
            # The base began to be loaded again between the question and this call.
            self._is_waiting = True
        if self.phase is not Phase.READY or self.model is None:
            return
        model = self.model
        meter = self.meter
        meter.n_prefilled, meter.n_prompt, meter.tokens_per_s = 0, 0, 0.0
        meter.is_stopped = False
        self._has_told_next = self._is_due = False
        self._enter(Phase.PREFILL)
        await self._apply_shown()
        prompt = self.conversation.prompt()
        answer = self.conversation.begin_answer(model.name, self._accepted.label)
        self._observer.entry_added(answer)
        n_tokens, started_s = 0, self._clock()
        try:
            async for event in self.engine.generate(
                prompt, model.parameters, model.template, self.thinks
            ):
                if isinstance(event, PromptProgress):
                    meter.n_prefilled, meter.n_prompt = event.n_done, event.n_total
                    started_s = self._clock()
                elif isinstance(event, Tokens):
                    answer = self.conversation.grow_answer(answer, event.text, event.thinking)
                    self._observer.answer_grew(answer)
                    n_tokens += event.n_tokens
                    elapsed_s = self._clock() - started_s
                    meter.tokens_per_s = n_tokens / elapsed_s if elapsed_s > 0 else 0.0
                    meter.n_context = meter.n_prompt + n_tokens
                    self.phase = Phase.WRITING
                else:
                    answer = self._end(answer, event)
                if self._wants_stop and not isinstance(event, Finished):
                    # An engine that was still starting when Esc was pressed knew of no answer.
                    await self.engine.cancel()
                self._observer.session_changed()
        except EngineError as error:
            answer = self.conversation.fail_answer(answer, str(error))
        finally:
            if answer.state is AnswerState.WRITING:
                answer = self.conversation.stop_answer(answer)
            self._wants_stop = False
            self._enter(Phase.READY)
            self._observer.answer_ended(answer)
        await self.apply_mix()

    async def stop(self) -> bool:
        """Stop the answer; False where none is being written."""
        if not self.is_answering:
            return False
        self._wants_stop = True
        await self.engine.cancel()
        return True

    def change_mix(self, mix: Mix) -> bool:
        """Show another mix; True asks the caller to run `apply_mix` soon.

        While an answer streams the mix is only shown: it is applied once the answer has ended.
        """
        if mix == self.mix:
            return False
        self.mix = mix
        self._observer.mix_changed()
        if self.phase in (Phase.PREFILL, Phase.WRITING):
            if not self._has_told_next:
                self._has_told_next = True
                self._tell("The change takes effect from the next answer.", "information")
            return False
        return self.phase is Phase.READY

    async def apply_mix(self) -> None:
        """Make the engine use the mix shown; where it refuses, the accepted one is shown again."""
        if self.phase is Phase.READY:
            await self._apply_shown()

    async def _apply_shown(self) -> None:
        async with self._applying:
            while self.mix != self._accepted:
                wanted = self.mix
                try:
                    if wanted.in_force != self._accepted.in_force:
                        await self.engine.set_stack(wanted.in_force)
                    self._accepted = wanted
                except EngineError as error:
                    if self.mix == wanted:
                        self.mix = self._accepted
                        self._observer.mix_changed()
                    self._tell(str(error), "error")

    async def _load(self, spec: LoadSpec) -> None:
        """Load a base, which begins without a stack, and tell what differs from the wish."""
        self.base = await self.engine.load(spec, self._on_load_progress)
        self._spec = spec
        self._accepted = Mix()
        for sentence in self.base.notices:
            self._tell(sentence, "warning")

    def _end(self, answer: Answer, finished: Finished) -> Answer:
        ended = self.conversation.end_answer(answer, finished)
        self.meter.n_context = finished.stats.n_context or self.meter.n_context
        self.meter.tokens_per_s = finished.stats.decode_tokens_per_s
        self.meter.is_stopped = ended.state is AnswerState.STOPPED
        return ended

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


def _load_parameters(parameters: Parameters) -> Parameters:
    """Return the parameters that decide how a base is loaded, the others unset."""
    return Parameters(**{name: getattr(parameters, name) for name in _LOAD_PARAMETERS})
