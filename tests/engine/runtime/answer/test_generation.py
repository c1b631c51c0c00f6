"""An answer comes in pieces, stops when it should and tells what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, GenerationEvent, PromptProgress, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseReference, ChatMessage, LoadSpec
from engine.runtime.answer.generation import generate
from engine.runtime.load_options import PREFILL_CHUNK
from engine.runtime.runtime import Runtime
from engine.stack import stack_of
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.tiny_models import write_base

ASK = (ChatMessage("user", "Tell me something."),)
GREEDY = Parameters(temperature=0.0, num_predict=24)


def answer(
    runtime: Runtime, messages: tuple[ChatMessage, ...] = ASK, parameters: Parameters = GREEDY
) -> Finished:
    last = list(generate(runtime, ChatRequest(messages, parameters)))[-1]
    assert isinstance(last, Finished)
    return last


def test_pieces_add_up_to_the_whole_answer(runtime: Runtime) -> None:
    events = list(generate(runtime, ChatRequest(ASK, GREEDY)))
    pieces = [event for event in events if isinstance(event, Tokens)]
    last = events[-1]
    assert isinstance(last, Finished)
    assert "".join(piece.text for piece in pieces) == last.text != ""
    assert sum(piece.n_tokens for piece in pieces) == last.stats.n_decoded == 24
    assert last.reason == "length"


def test_greedy_answers_are_repeatable_and_follow_the_stack(runtime: Runtime, tiny: Tiny) -> None:
    plain = answer(runtime).text
    runtime.set_stack(stack_of([(tiny.first, 1.0)]))
    adapted = answer(runtime).text
    runtime.set_stack(stack_of([]))
    assert answer(runtime).text == plain != adapted


def test_a_seed_repeats_the_text(runtime: Runtime) -> None:
    hot = Parameters(temperature=1.5, seed=11, num_predict=24)
    other = Parameters(seed=12).over(hot)
    assert answer(runtime, parameters=hot).text == answer(runtime, parameters=hot).text
    assert answer(runtime, parameters=hot).text != answer(runtime, parameters=other).text


def test_the_next_turn_evaluates_only_what_is_new(runtime: Runtime) -> None:
    first = answer(runtime)
    assert first.stats.n_reused == 0
    turns = (*ASK, ChatMessage("assistant", first.text), ChatMessage("user", "And then?"))
    second = answer(runtime, turns)
    assert second.stats.n_reused >= first.stats.n_prompt
    assert second.stats.n_prompt > second.stats.n_reused


def test_another_stack_reuses_nothing(runtime: Runtime, tiny: Tiny) -> None:
    answer(runtime)
    runtime.set_stack(stack_of([(tiny.first, 0.5)]))
    assert answer(runtime).stats.n_reused == 0
    assert answer(runtime).stats.n_reused > 0


def test_coming_back_to_a_stack_reuses_the_whole_prompt(runtime: Runtime, tiny: Tiny) -> None:
    first = answer(runtime)
    runtime.set_stack(stack_of([(tiny.first, 0.5)]))
    answer(runtime)
    runtime.set_stack(stack_of([]))
    again = answer(runtime)
    assert again.stats.n_reused == again.stats.n_prompt - 1
    assert again.text == first.text


def test_keeping_the_cache_over_a_swap_is_labelled_approximate(
    runtime: Runtime, tiny: Tiny
) -> None:
    runtime.configure(EngineSettings(swap="keep"))
    assert not answer(runtime).stats.is_approximate
    runtime.set_stack(stack_of([(tiny.first, 0.5)]))
    kept = answer(runtime)
    assert kept.stats.n_reused == kept.stats.n_prompt - 1
    assert kept.stats.is_approximate
    runtime.configure(EngineSettings(swap="evaluate"))
    exact = answer(runtime)
    assert (exact.stats.n_reused, exact.stats.is_approximate) == (0, False)


def test_a_stack_set_during_an_answer_is_labelled_and_does_no_harm_later(
    runtime: Runtime, tiny: Tiny
) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    plain = answer(runtime)
    runtime.set_stack(stack)
    adapted = answer(runtime)
    runtime.set_stack(stack_of([]))
    mixed: Finished | None = None
    for event in generate(runtime, ChatRequest(ASK, GREEDY)):
        if isinstance(event, Tokens) and runtime.stack != stack:
            runtime.set_stack(stack)
        if isinstance(event, Finished):
            mixed = event
    assert mixed is not None
    assert (plain.stats.is_approximate, mixed.stats.is_approximate) == (False, True)
    assert mixed.text not in (plain.text, adapted.text)
    again = answer(runtime)
    assert (again.text, again.stats.is_approximate) == (adapted.text, False)


def test_a_stop_string_ends_the_answer_and_is_not_shown(runtime: Runtime) -> None:
    whole = answer(runtime).text
    stop = whole[6:9]
    stopped = answer(runtime, parameters=Parameters(stop=(stop,)).over(GREEDY))
    assert stopped.reason == "stop"
    assert stopped.text == whole[: whole.index(stop)]


def test_the_end_of_the_turn_ends_the_answer(tmp_path: Path) -> None:
    path = write_base(tmp_path / "base.gguf", ends_at_once=True)
    with Runtime(LoadSpec(BaseReference(str(path)), Parameters(num_thread=1))) as runtime:
        ended = answer(runtime)
    assert (ended.reason, ended.text, ended.stats.n_decoded) == ("stop", "", 0)


def test_the_context_ends_an_answer_without_a_limit(tiny: Tiny) -> None:
    with Runtime(tiny.spec(num_ctx=256)) as runtime:
        full = answer(runtime, parameters=Parameters(temperature=0.0))
    assert full.reason == "length"
    assert full.stats.n_context == full.stats.n_ctx == 256
    assert full.notices == ("The answer was cut short: the context of 256 tokens is full.",)


def test_an_overlong_conversation_is_shortened_and_says_so(tiny: Tiny) -> None:
    turns = [
        ChatMessage(role, f"Some words, number {n}. " * 4)
        for n in range(10)
        for role in ("user", "assistant")
    ]
    with Runtime(tiny.spec(num_ctx=512)) as runtime:
        shortened = answer(runtime, (*turns, *ASK))
    assert shortened.reason == "length"
    assert shortened.stats.n_dropped_messages > 0
    assert "oldest" in shortened.notices[0]


def test_cancelling_between_prompt_chunks_evaluates_no_more(runtime: Runtime) -> None:
    long = (ChatMessage("user", "word " * 80),)
    seen: list[GenerationEvent] = []
    events = generate(runtime, ChatRequest(long, GREEDY), is_cancelled=lambda: len(seen) >= 2)
    for event in events:
        seen.append(event)
    progress = [event.n_done for event in seen if isinstance(event, PromptProgress)]
    last = seen[-1]
    assert isinstance(last, Finished)
    assert progress == [0, PREFILL_CHUNK]
    assert last.stats.n_prompt > PREFILL_CHUNK
    assert (last.reason, last.text) == ("cancelled", "")


def test_cancelling_between_tokens_keeps_what_there_is(runtime: Runtime) -> None:
    whole = answer(runtime)
    seen: list[Tokens] = []
    events: Iterator[GenerationEvent] = generate(
        runtime, ChatRequest(ASK, GREEDY), is_cancelled=lambda: len(seen) >= 5
    )
    last: GenerationEvent | None = None
    for event in events:
        last = event
        if isinstance(event, Tokens):
            seen.append(event)
    assert isinstance(last, Finished)
    assert last.reason == "cancelled"
    assert last.text
    assert whole.text.startswith(last.text)
    assert answer(runtime).text == whole.text, "a stopped answer leaves the cache right"


def test_a_failure_keeps_the_partial_text_and_the_next_answer_works(runtime: Runtime) -> None:
    events = generate(runtime, ChatRequest(ASK, Parameters(temperature=0.0)))
    text = ""
    finished: Finished | None = None
    n_seen = 0
    for event in events:
        if isinstance(event, Tokens):
            text += event.text
            n_seen += 1
            if n_seen == 5:
                # Fill the context behind the generator's back: its next token finds no room.
                room = runtime.context.n_ctx - runtime.kv.n_tokens
                for start in range(0, room, PREFILL_CHUNK):
                    runtime.context.decode([5] * min(PREFILL_CHUNK, room - start))
        if isinstance(event, Finished):
            finished = event
    assert finished is not None
    assert (finished.reason, finished.text) == ("failed", text)
    assert "full" in finished.error
    assert answer(runtime).reason == "length"


def test_a_message_that_cannot_fit_is_one_sentence(tiny: Tiny) -> None:
    with Runtime(tiny.spec(num_ctx=256)) as runtime:
        failed = answer(runtime, (ChatMessage("user", "word " * 400),))
    assert failed.reason == "failed"
    assert "num_ctx" in failed.error


@pytest.mark.parametrize("num_ctx", [None, 100_000])
def test_the_context_is_no_longer_than_the_base_was_trained_for(
    tmp_path: Path, num_ctx: int | None
) -> None:
    path = write_base(tmp_path / "base.gguf", n_ctx_train=512)
    with Runtime(
        LoadSpec(BaseReference(str(path)), Parameters(num_thread=1, num_ctx=num_ctx))
    ) as runtime:
        assert runtime.info.n_ctx == runtime.info.facts.context_length == 512
        said = ("num_ctx 100000 is more than the base was trained for: 512 is used.",)
        assert runtime.info.notices == (said if num_ctx else ())


def test_load_parameters_beyond_what_llama_cpp_takes_do_no_harm(tiny: Tiny) -> None:
    with Runtime(tiny.spec(num_ctx=256, num_batch=100_000)) as runtime:
        assert runtime.context.n_batch == 256
        assert answer(runtime).reason == "length"
    with Runtime(tiny.spec(num_ctx=256, num_thread=100_000)) as runtime:
        assert runtime.info.n_threads == 512


@pytest.mark.parametrize("template", ["{{ .Prompt }}<think>", "{{ .Prompt }}<think>\n"])
def test_a_prompt_that_opens_a_thought_gives_no_answer_before_it_is_closed(
    runtime: Runtime, template: str
) -> None:
    events = list(generate(runtime, ChatRequest(ASK, GREEDY, template)))
    pieces = [event for event in events if isinstance(event, Tokens)]
    last = events[-1]
    assert isinstance(last, Finished)
    assert "".join(piece.thinking for piece in pieces) == last.thinking != ""
    assert last.text == "" == "".join(piece.text for piece in pieces)
    assert last.stats.n_thought == last.stats.n_decoded == 24


def test_a_model_that_does_not_think_has_no_thoughts(runtime: Runtime) -> None:
    asks = (ChatMessage("user", "What is <think>"),)
    for template in (None, "{{ .Prompt }}"):
        last = list(generate(runtime, ChatRequest(asks, GREEDY, template)))[-1]
        assert isinstance(last, Finished)
        assert (last.thinking, last.stats.n_thought) == ("", 0)
        assert last.text


def test_an_answer_that_only_repeats_itself_ends_with_a_notice(runtime: Runtime) -> None:
    looping = Parameters(temperature=0.0, num_predict=300, repeat_limit=30)
    free = answer(runtime, parameters=Parameters(repeat_limit=0).over(looping))
    bound = answer(runtime, parameters=looping)
    assert free.stats.n_decoded == 300
    assert free.notices == ()
    assert 30 < bound.stats.n_decoded < 300
    assert free.text.startswith(bound.text)
    assert "only repeated itself" in bound.notices[-1]
    assert bound.reason == "length"
