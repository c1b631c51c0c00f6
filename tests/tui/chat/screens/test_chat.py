"""A person's chat with a scripted engine: what is sent, shown, stopped, repeated and copied."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.errors import BaseError
from modelfiles.model import Model
from tests.support.chat import (
    HISTORY,
    begin,
    burst,
    chat,
    ended,
    notices,
    ready,
    say,
    screen_text,
    tiny_model,
    wait_until,
)
from tests.support.scripted_engine import ScriptedEngine
from tui.chat.prompt.prompt import Prompt
from tui.chat.session.meter import Phase
from tui.chat.transcript.message import AnswerView
from tui.conversation import AnswerState


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path)


async def test_a_message_is_answered_under_its_stack(tmp_path: Path) -> None:
    engine = ScriptedEngine([["Hello ", "**there**."]])
    async with chat(engine, tiny_model(tmp_path, "pirate", scale=0.7)) as (app, pilot):
        answer = await say(app, pilot, "Hi")
        shown = screen_text(app)
        assert answer.text == "Hello **there**."
        assert "Hi" in shown
        assert "Hello there." in shown
        assert "tiny  pirate 0.70 · 40 tok/s" in shown
        assert "context 32 / 4096" in shown
        assert app.chat.query_one(Prompt).text == ""
    assert [m.content for m in engine.prompts[0]] == ["Hi"]
    assert engine.is_closed


async def test_a_model_with_a_template_is_asked_with_it(tmp_path: Path) -> None:
    engine = ScriptedEngine([["Hello."]])
    model = tiny_model(tmp_path, template="{{ .Prompt }}")
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "Hi")
    assert [request.template for request in engine.requests] == ["{{ .Prompt }}"]


async def test_a_thought_is_one_line_above_the_answer_until_it_is_unfolded(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]], thoughts=["Hm, ", "let me\x1b see."])
    async with chat(engine, model) as (app, pilot):
        answer = await say(app, pilot, "Hi")
        assert (answer.text, answer.thinking) == ("Yes.", "Hm, let me\x1b see.")
        shown = screen_text(app)
        assert "thought for 2 tokens" in shown
        assert "let me" not in shown
        await pilot.press("ctrl+t")
        await pilot.pause()
        shown = screen_text(app)
        assert shown.index("Hm, let me see.") < shown.index("Yes.")
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert "let me" not in screen_text(app)
        await say(app, pilot, "And?")
    assert [m.content for m in engine.prompts[1]] == ["Hi", "Yes.", "And?"]


async def test_a_thought_says_that_it_goes_on_and_stays_when_stopped(model: Model) -> None:
    engine = ScriptedEngine([["One"]], thoughts=["Hm."], thought_gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        app.chat.query_one(Prompt).text = "Hi"
        await pilot.press("enter")
        await wait_until(pilot, lambda: "thinking …" in screen_text(app), "the thought")
        await pilot.press("escape")
        answer = await ended(app, pilot)
        assert (answer.text, answer.thinking) == ("", "Hm.")
        shown = screen_text(app)
        assert "thought for 1 token ·" in shown
        assert "thinking …" not in shown
        assert "stopped" in shown


async def test_the_first_frame_comes_before_the_model(model: Model) -> None:
    engine = ScriptedEngine([["Done."]], load_gate=asyncio.Event())
    async with chat(engine, model, is_loaded=False) as (app, pilot):
        await wait_until(pilot, lambda: "50%" in screen_text(app), "load progress")
        assert "loading" in screen_text(app)
        await pilot.press(*"Hey", "enter")
        await wait_until(pilot, lambda: "your message is next" in screen_text(app), "a queue")
        assert engine.prompts == []
        await pilot.press(*"more")
        assert app.chat.query_one(Prompt).text == "more"
        assert engine.load_gate is not None
        engine.load_gate.set()
        await wait_until(pilot, lambda: "Done." in screen_text(app), "the queued answer")


async def test_esc_stops_and_keeps_what_is_written(model: Model) -> None:
    engine = ScriptedEngine([["Once ", "upon ", "a time"], ["Again."]], gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Tell")
        await pilot.press("escape")
        answer = await ended(app, pilot)
        assert answer.state is AnswerState.STOPPED
        assert answer.text == "Once "
        assert "stopped" in screen_text(app)
        assert "Once" in screen_text(app)
        engine.gate = None
        await say(app, pilot, "Go on")
    assert [(m.role, m.content) for m in engine.prompts[1]] == [
        ("user", "Tell"),
        ("assistant", "Once "),
        ("user", "Go on"),
    ]


async def test_enter_while_an_answer_streams_keeps_the_text(model: Model) -> None:
    engine = ScriptedEngine([["One ", "two"]], gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Count")
        await pilot.press(*"next", "enter")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["Still answering. Esc stops it."]
        assert app.chat.query_one(Prompt).text == "next"
        await pilot.press("ctrl+g")
        await pilot.press("ctrl+n")
        assert len(app.chat.session.conversation.entries) == 2


async def test_regenerating_replaces_the_last_answer_under_the_stack_of_now(tmp_path: Path) -> None:
    engine = ScriptedEngine([["First."], ["Second."]])
    async with chat(engine, tiny_model(tmp_path, "pirate")) as (app, pilot):
        await say(app, pilot, "Hi")
        await pilot.press("tab", "1")
        await ready(app, pilot)
        await pilot.press("ctrl+g")
        answer = await ended(app, pilot)
        assert (answer.text, answer.label) == ("Second.", "pirate 1.00")
        shown = screen_text(app)
        assert "Second." in shown
        assert "First." not in shown
    assert engine.prompts[0] == engine.prompts[1]


async def test_a_failed_answer_keeps_its_text_and_the_next_one_works(model: Model) -> None:
    engine = ScriptedEngine([["Half a "], ["Whole."]], crash="The worker process ended.")
    async with chat(engine, model) as (app, pilot):
        answer = await say(app, pilot, "Hi")
        assert (answer.state, answer.text) == (AnswerState.FAILED, "Half a ")
        assert "The worker process ended." in screen_text(app)
        assert "Half a" in screen_text(app)
        engine.crash = ""
        assert (await say(app, pilot, "Again")).state is AnswerState.FINISHED


async def test_an_error_of_the_engine_itself_ends_the_answer(model: Model) -> None:
    engine = ScriptedEngine([["x"]], generate_error=BaseError("The base is gone."))
    async with chat(engine, model) as (app, pilot):
        answer = await say(app, pilot, "Hi")
        assert (answer.state, answer.error) == (AnswerState.FAILED, "The base is gone.")
        assert app.chat.session.phase is Phase.READY


async def test_a_base_that_cannot_be_loaded_leaves_a_usable_screen(model: Model) -> None:
    engine = ScriptedEngine([["x"]], load_error=BaseError("It is truncated."))
    async with chat(engine, model, is_loaded=False) as (app, pilot):
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert notices(app) == ["It is truncated."]
        await pilot.press(*"hey", "enter")
        await wait_until(pilot, lambda: len(notices(app)) == 2, "another notice")
        assert app.chat.query_one(Prompt).text == "hey"
        assert "no model loaded" in screen_text(app)


async def test_control_characters_never_reach_the_screen(model: Model) -> None:
    engine = ScriptedEngine([["a\x1b[31mb", "\x9b2J\u202ec"]])
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "Hi")
        shown = screen_text(app)
        assert "a[31mb2Jc" in shown
        assert not {"\x1b", "\x9b", "\u202e"} & set(shown)


async def test_the_history_of_a_modelfile_is_shown_and_sent(tmp_path: Path) -> None:
    engine = ScriptedEngine([["Yes."]])
    model = tiny_model(tmp_path, messages=HISTORY, system="Be brief.")
    async with chat(engine, model) as (app, pilot):
        assert "A small model." in screen_text(app)
        await say(app, pilot, "Really?")
        await pilot.press("ctrl+n")
        await ready(app, pilot)
        shown = screen_text(app)
        assert "A small model." in shown
        assert "Really?" not in shown
        await say(app, pilot, "Hello")
    sent = [[m.content for m in prompt] for prompt in engine.prompts]
    opening = ["Be brief.", "Who are you?", "A small model."]
    assert sent == [[*opening, "Really?"], [*opening, "Hello"]]


async def test_a_notice_of_the_engine_stands_under_the_answer(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]], notices=("2 old messages were left out.",))
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "Hi")
        assert "2 old messages were left out." in screen_text(app)


async def test_ctrl_j_breaks_the_line_and_up_recalls_the_last_message(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        prompt = app.chat.query_one(Prompt)
        await pilot.press("a", "ctrl+j", "b")
        assert prompt.text == "a\nb"
        await pilot.press("enter")
        await ended(app, pilot)
        assert engine.prompts[0][0].content == "a\nb"
        await pilot.press("up")
        assert prompt.text == "a\nb"
        await pilot.press("up")
        assert prompt.cursor_location[0] == 0


async def test_the_prompt_grows_to_eight_lines(model: Model) -> None:
    async with chat(ScriptedEngine([["x"]]), model) as (app, pilot):
        prompt = app.chat.query_one(Prompt)
        heights = []
        for n_lines in (1, 4, 20):
            prompt.text = "\n".join("x" * n_lines)
            await pilot.pause()
            heights.append(prompt.size.height)
        assert heights == [1, 4, 8]


async def test_a_growing_answer_has_one_live_block(model: Model) -> None:
    engine = ScriptedEngine([["# One\n\nTwo\n\nThree\n", "four"]], gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Hi")
        view = app.chat.query(AnswerView).last()
        await wait_until(pilot, lambda: "Three" in screen_text(app), "the first piece")
        assert [block.content.plain for block in view.body.blocks] == ["One", "Two"]
        assert len(view.query("TailView")) == 1
        assert engine.gate is not None
        engine.gate.set()
        await ended(app, pilot)
        assert [block.content.plain for block in view.body.blocks] == ["One", "Two", "Three\nfour"]
        assert len(view.query("TailView")) == 0


async def test_ctrl_c_quits_only_when_pressed_twice(model: Model) -> None:
    async with chat(ScriptedEngine([["x"]]), model) as (app, pilot):
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert app.is_running
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: app._exit, "the end")


async def test_keys_that_arrive_together_are_obeyed_in_their_order(tmp_path: Path) -> None:
    engine = ScriptedEngine([["Yes."]])
    for size in ((120, 40), (60, 20)):
        async with chat(engine, tiny_model(tmp_path, "pirate"), size) as (app, pilot):
            burst(app, "tab", "1", "tab", *"hi", "enter", *"more", "ctrl+j", "x", "tab", "o")
            await wait_until(pilot, lambda: len(app.chat.session.conversation.entries) == 2, "Yes.")
            answer = await ended(app, pilot)
            assert answer.label == "pirate 1.00"
            assert app.chat.query_one(Prompt).text == "more\nx"
    assert [[m.content for m in prompt] for prompt in engine.prompts] == [["hi"], ["hi"]]


async def test_the_prompt_keeps_a_column_where_a_wide_rack_leaves_none(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model, (120, 20)) as (app, pilot):
        # As it is for a moment when the chat starts, before the layout for few columns applies.
        app.chat.query_one("#rack").styles.width = (
            120 - app.chat.query_one("#prompt-mark").size.width
        )
        await pilot.pause()
        assert app.chat.query_one(Prompt).content_size.width >= 1


async def test_two_messages_sent_together_are_one_answer_and_one_text_kept(model: Model) -> None:
    engine = ScriptedEngine([["One ", "two"]], gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        burst(app, *"hi", "enter", "enter", *"so", "enter")
        await wait_until(pilot, lambda: notices(app), "a notice")
        assert app.chat.query_one(Prompt).text == "so"
        assert len(app.chat.session.conversation.entries) <= 2
        await wait_until(pilot, lambda: app.chat.session.phase is Phase.WRITING, "the answer")
        await pilot.press("escape")
        await ended(app, pilot)
    assert [[m.content for m in prompt] for prompt in engine.prompts] == [["hi"]]
