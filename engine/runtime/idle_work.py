"""Prepare for the next answer in the background: evaluate, choose the stack's form, measure.

The work goes in steps. The longest step, a chunk of the conversation, is interrupted as soon as a
request arrives. Chunks short enough to wait for would cost three times as much: llama.cpp
evaluates 32 tokens at once at 0.36 of the speed of 256.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

from engine.errors import EngineError
from engine.protocol.events import EffectMeasured, FormChosen, PromptProgress, Settled, SettleEvent
from engine.protocol.requests import Settle
from engine.runtime.prompt import conversation_prefix
from engine.runtime.runtime import Runtime

log = logging.getLogger("engine.runtime.idle_work")

BUILDING_PAUSE_S: Final = 0.02
PROGRESS_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that asks the worker to wait `wait_s` seconds."""

    wait_s: float


Step = SettleEvent | Pause | None
"""An event to send, a pause, or None after a step without news."""


def settle(
    runtime: Runtime, request: Settle, is_interrupted: Callable[[], bool]
) -> Generator[Step, None, None]:
    """Prepare for the next answer; the last event is `Settled`, unless closed earlier.

    Args:
        runtime: The base with its stack, which must not change meanwhile.
        request: The conversation so far and when to begin.
        is_interrupted: Returns whether to abandon the step in progress.
    """
    if request.delay_s > 0:
        started = time.monotonic()
        while (left_s := request.delay_s - (time.monotonic() - started)) > 0:
            yield Pause(left_s)
    # Measure the stack's effect first: the user watches it while changing a scale, and it takes
    # 30 tokens, where a long conversation takes thousands.
    yield from _measure_stack(runtime, request.request_id)
    runtime.context.interrupts = is_interrupted
    try:
        n_ready = yield from _evaluate(runtime, request)
    finally:
        runtime.context.interrupts = None
    yield from _choose_form(runtime, request.request_id)
    yield from _measure_adapters(runtime, request.request_id)
    runtime.persist()
    yield Settled(request.request_id, is_complete=True, n_ready=n_ready)


def _evaluate(runtime: Runtime, request: Settle) -> Generator[Step, None, int]:
    """Evaluate the conversation under the stack in force; return how many tokens are ready."""
    if not runtime.settings.prepares or runtime.settings.swap == "keep":
        return 0
    n_done, n_reused = 0, 0
    try:
        tokens = conversation_prefix(runtime.model, request.chat, runtime.context.n_ctx)
        sent_s = float("-inf")
        for step, done in enumerate(runtime.prefill(tokens, needs_logits=False)):
            n_done = done
            n_reused = n_reused if step else done
            now_s = time.monotonic()
            is_due = now_s - sent_s >= PROGRESS_INTERVAL_S or n_done == len(tokens)
            if n_reused < len(tokens) and is_due:
                sent_s = now_s
                yield PromptProgress(request.request_id, n_done, len(tokens), n_reused)
            else:
                yield None
    except EngineError:
        # If the problem persists, the next answer will report it.
        log.exception("the conversation cannot be evaluated in the background")
    return n_done


def _choose_form(runtime: Runtime, request_id: int) -> Iterator[Step]:
    """Wait for the fused adapter, measure whether it is faster, and report the form in use."""
    while runtime.forms.is_building:
        yield Pause(BUILDING_PAUSE_S)
    runtime.poll()
    ratio = yield from runtime.compare_forms()
    form = runtime.forms.form
    # Report it even if this step did not change it: a setting may have, or the evaluation, which
    # switches to a fused adapter on its way.
    if form in ("layered", "fused"):
        reason = "" if ratio is None else _speed(ratio)
        yield FormChosen(request_id, runtime.stack.digest, form, reason)


def _speed(ratio: float) -> str:
    """Return a clause on how fast the fused form decodes."""
    if f"{ratio:.1f}" == "1.0":
        return "both forms decode equally fast"
    return f"fused decodes {ratio:.1f} times as fast"


def _measure_stack(runtime: Runtime, request_id: int) -> Iterator[Step]:
    """Measure the effect of the stack in force and report it."""
    stack = runtime.stack
    if stack.effective:
        yield from _quietly(runtime.effects.measure_stack(stack))
        yield from _effect(runtime, request_id)


def _measure_adapters(runtime: Runtime, request_id: int) -> Iterator[Step]:
    """Measure each adapter of the stack not measured yet, alone, and report the effects."""
    effects = runtime.effects
    contents = {entry.adapter.sha256: entry.adapter for entry in runtime.stack.active}
    unknown = [adapter for key, adapter in contents.items() if effects.of_adapter(key) is None]
    for adapter in unknown:
        yield from _quietly(effects.measure_adapter(adapter))
    if unknown:
        yield from _effect(runtime, request_id)


def _effect(runtime: Runtime, request_id: int) -> Iterator[Step]:
    stack, effects = runtime.stack, runtime.effects
    nats = effects.of_stack(stack.digest)
    if nats is not None:
        found = [effects.of_adapter(sha256) for sha256 in stack.effective]
        adapters = tuple(effect for effect in found if effect is not None)
        yield EffectMeasured(request_id, stack.digest, nats, adapters)


def _quietly(steps: Iterator[None]) -> Iterator[None]:
    """Run a measurement and log its failure, which must not become an error for the user."""
    try:
        yield from steps
    except EngineError:
        log.exception("an effect cannot be measured")
