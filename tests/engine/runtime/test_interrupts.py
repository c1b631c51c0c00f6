"""A prompt is given up in the middle of a batch, and what was evaluated before stays right."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from engine.llama.context import Context
from engine.llama.model import Model
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, PromptProgress
from engine.protocol.values import ChatMessage
from engine.runtime.answer.generation import generate
from engine.runtime.load_options import PREFILL_CHUNK
from engine.runtime.runtime import Runtime
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny

TOKENS = [(7 * n) % 250 for n in range(96)]
GREEDY = Parameters(temperature=0.0, num_predict=8)
LONG = ChatRequest((ChatMessage("user", "word " * 80),), GREEDY)


def after(n_asked: int) -> Callable[[], bool]:
    """Return an answer that turns to yes once it was asked that often."""
    asked = count(1)
    return lambda: next(asked) > n_asked


@pytest.mark.parametrize("n_held", [0, 10])
@pytest.mark.parametrize("n_asked", [0, 1, 30, 100])
def test_a_batch_that_was_given_up_leaves_no_trace(tiny: Tiny, n_held: int, n_asked: int) -> None:
    held, rest = TOKENS[:n_held], TOKENS[n_held:]
    with (
        Model(tiny.base) as model,
        # Four computations of 24 tokens a batch: an interrupt may come in a later one.
        Context(model, n_ctx=256, n_batch=96, n_ubatch=24, n_threads=1) as context,
        Context(model, n_ctx=256, n_batch=96, n_ubatch=24, n_threads=1) as cold,
    ):
        for parts in (held, rest):
            if parts:
                assert cold.decode(parts)
                context.interrupts = None
                if parts is rest:
                    context.interrupts = after(n_asked)
                    assert not context.decode(parts)
                    context.interrupts = None
                assert context.decode(parts)
        assert (context.logits() == cold.logits()).all()


def test_a_batch_that_nobody_gives_up_is_evaluated(tiny: Tiny) -> None:
    with Model(tiny.base) as model, Context(model, n_ctx=256, n_batch=96, n_threads=1) as context:
        n_asked = count()
        context.interrupts = lambda: next(n_asked) < 0
        assert context.decode(TOKENS)
        assert next(n_asked) > 10, "asked between operations, not once"


def test_single_tokens_are_not_given_up(tiny: Tiny) -> None:
    with Model(tiny.base) as model, Context(model, n_ctx=256, n_batch=96, n_threads=1) as context:
        context.interrupts = lambda: True
        assert context.decode([1])


def test_a_model_that_cannot_go_back_is_not_given_up(tiny: Tiny) -> None:
    with Model(tiny.base) as model, Context(model, n_ctx=256, n_batch=96, n_threads=1) as context:
        model.is_hybrid = True
        context.interrupts = lambda: True
        assert context.decode(TOKENS)


def test_a_cancel_takes_effect_in_the_middle_of_a_chunk(tiny: Tiny) -> None:
    with Runtime(tiny.spec()) as runtime:
        # Once for the reused part, once after the first chunk, then in the second one.
        is_cancelled = after(2)
        context = runtime.context

        def events() -> list[object]:
            return list(generate(runtime, LONG, is_cancelled=is_cancelled))

        seen = events()
        last = seen[-1]
        assert isinstance(last, Finished)
        assert last.reason == "cancelled"
        progress = [event.n_done for event in seen if isinstance(event, PromptProgress)]
        assert progress[-1] < PREFILL_CHUNK
        assert context.interrupts is None
        whole = list(generate(runtime, LONG))[-1]
        with Runtime(tiny.spec()) as cold:
            fresh = list(generate(cold, LONG))[-1]
        assert isinstance(whole, Finished)
        assert isinstance(fresh, Finished)
        assert whole.text == fresh.text
