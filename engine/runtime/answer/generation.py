"""Generate one answer: prefill in chunks, then decode token by token, cancellable in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from engine.errors import EngineError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, GenerationEvent, PromptProgress, Tokens
from engine.protocol.values import FinishReason, GenerationStats
from engine.runtime.answer.repetition import RepetitionGuard
from engine.runtime.answer.sampling import Sampling
from engine.runtime.answer.stop_strings import TextStream
from engine.runtime.answer.thoughts import Split, ThoughtSplitter
from engine.runtime.prompt import Prompt, build_prompt
from engine.runtime.runtime import Runtime
from modelfiles.parameters import DEFAULTS, Parameters

_REPEATS: Final = (
    "The answer was ended because it only repeated itself; PARAMETER repeat_limit 0 lets it go on."
)


def generate(
    runtime: Runtime,
    request: ChatRequest,
    *,
    is_cancelled: Callable[[], bool] = lambda: False,
    request_id: int = 0,
) -> Iterator[GenerationEvent]:
    """Answer a conversation under the stack in force; the last event is always `Finished`.

    Args:
        runtime: The base with its stack.
        request: The conversation and how to answer it.
        is_cancelled: Called during the prefill and between tokens; True cancels.
        request_id: Copied into every event.
    """
    answer = _Answer(runtime, request, is_cancelled, request_id)
    try:
        yield from answer.events()
    except EngineError as error:
        yield answer.finished("failed", str(error))


class _Answer:
    """The state of one answer in progress."""

    def __init__(
        self,
        runtime: Runtime,
        request: ChatRequest,
        is_cancelled: Callable[[], bool],
        request_id: int,
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._is_cancelled = is_cancelled
        self._id = request_id
        self._text = self._thinking = ""
        self._notices: tuple[str, ...] = ()
        self._n_prompt = self._n_reused = self._n_decoded = self._n_dropped = self._n_thought = 0
        self._prefill_s = self._decode_s = 0.0

    def events(self) -> Iterator[GenerationEvent]:
        """Yield the events of prefill and decode, ending with `Finished`."""
        runtime = self._runtime
        prompt = build_prompt(runtime.model, self._request, runtime.context.n_ctx)
        self._notices, self._n_dropped = prompt.notices, prompt.n_dropped
        self._n_prompt = len(prompt.tokens)
        yield from self._prefill(prompt.tokens)
        self._notices = (*self._notices, *self._runtime.stack_notices)
        if self._is_cancelled():
            yield self.finished("cancelled")
            return
        yield from self._decode(prompt)

    def _prefill(self, tokens: list[int]) -> Iterator[GenerationEvent]:
        started = time.perf_counter()
        runtime = self._runtime
        keeps = runtime.settings.swap == "keep"
        runtime.context.interrupts = self._is_cancelled
        try:
            for i, n_done in enumerate(runtime.prefill(tokens, keeps=keeps)):
                if i == 0:
                    self._n_reused = n_done
                self._prefill_s = time.perf_counter() - started
                yield PromptProgress(self._id, n_done, self._n_prompt, self._n_reused)
                if self._is_cancelled():
                    return
        finally:
            runtime.context.interrupts = None

    def _decode(self, prompt: Prompt) -> Iterator[GenerationEvent]:
        model, context = self._runtime.model, self._runtime.context
        parameters = self._request.parameters
        stream = TextStream((*prompt.stops, *(parameters.stop or ())))
        thoughts = ThoughtSplitter(prompt.tags, is_open=prompt.opens_thought)
        limit = parameters.num_predict
        n_room = context.n_ctx - len(prompt.tokens)
        n_most = n_room if limit is None or limit < 0 else min(n_room, limit)
        started = time.perf_counter()
        reason: FinishReason = "length"
        repetition = RepetitionGuard(_repeat_limit(parameters))
        with Sampling.of(parameters).chain(model, prompt.tokens, context.n_ctx) as chain:
            while self._n_decoded < n_most:
                if self._is_cancelled():
                    reason = "cancelled"
                    break
                token = chain.sample(context)
                if model.ends_generation(token):
                    reason = "stop"
                    break
                self._n_decoded += 1
                piece = thoughts.push(stream.push(model.piece(token)))
                self._n_thought += thoughts.is_thinking
                yield from self._show(piece, n_tokens=1)
                self._decode_s = time.perf_counter() - started
                if stream.is_stopped:
                    reason = "stop"
                    break
                if repetition.ends(token):
                    self._notices = (*self._notices, _REPEATS)
                    break
                if self._n_decoded < n_most:
                    self._runtime.decode(token)
        yield from self._show(thoughts.push(stream.finish()), n_tokens=0)
        yield from self._show(thoughts.finish(), n_tokens=0)
        self._decode_s = time.perf_counter() - started
        if reason == "length" and self._n_decoded >= n_room:
            full = f"The answer was cut short: the context of {context.n_ctx} tokens is full."
            self._notices = (*self._notices, full)
        yield self.finished(reason)

    def _show(self, piece: Split, *, n_tokens: int) -> Iterator[GenerationEvent]:
        self._text += piece.text
        self._thinking += piece.thinking
        if piece.text or piece.thinking or n_tokens:
            yield Tokens(self._id, piece.text, n_tokens, piece.thinking)

    def finished(self, reason: FinishReason, error: str = "") -> Finished:
        """Return the last event, with the text and statistics so far."""
        stats = GenerationStats(
            n_prompt=self._n_prompt,
            n_reused=self._n_reused,
            n_decoded=self._n_decoded,
            prefill_s=self._prefill_s,
            decode_s=self._decode_s,
            n_ctx=self._runtime.context.n_ctx,
            n_dropped_messages=self._n_dropped,
            n_thought=self._n_thought,
            form=self._runtime.forms.form,
            is_approximate=self._n_prompt > 0 and self._runtime.is_approximate,
        )
        return Finished(self._id, reason, self._text, stats, self._notices, error, self._thinking)


def _repeat_limit(parameters: Parameters) -> int:
    limit = parameters.repeat_limit
    return DEFAULTS.repeat_limit or 0 if limit is None else limit
