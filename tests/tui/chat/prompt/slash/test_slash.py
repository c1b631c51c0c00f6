"""Commands typed into the chat, with a scripted engine: what they change, show and refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.events import Key
from textual.pilot import Pilot

from engine.errors import BaseError
from modelfiles.library import Library
from modelfiles.model import Message, Model
from tests.support.chat import (
    begin,
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
from tui.chat.app import ChatApp
from tui.chat.prompt.prompt import Prompt
from tui.chat.rack.rack import Rack
from tui.conversation import Answer, AnswerState, Note


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path / "home"))
    return tiny_model(tmp_path, "pirate", "formal", system="Be brief.")


async def type_in(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    """Send a line as a person does, and let what it begins come on its way."""
    app.chat.query_one(Prompt).put(text)
    app.chat.query_one(Prompt).focus()
    await pilot.press("enter")
    await pilot.pause()


async def told(app: ChatApp, pilot: Pilot[int], sentence: str) -> None:
    await wait_until(pilot, lambda: sentence in notices(app), f"the notice {sentence!r}")


async def noted(app: ChatApp, pilot: Pilot[int]) -> Note:
    """Wait until the last entry is a note that is on the screen."""
    entries = app.chat.session.conversation.entries
    await wait_until(
        pilot, lambda: entries and isinstance(entries[-1], Note) and app.chat.is_drawn, "a note"
    )
    await pilot.pause()
    note = entries[-1]
    assert isinstance(note, Note)
    return note


async def test_a_system_message_holds_from_the_next_answer_on(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "One")
        await type_in(app, pilot, '/set system """\nBe loud.\nVery.\n"""')
        await told(app, pilot, "Set system message.")
        assert app.chat.query_one(Prompt).text == ""
        await say(app, pilot, "Two")
        await type_in(app, pilot, "/clear")
        await told(app, pilot, "Cleared session context")
        assert app.chat.session.conversation.entries == []
        await say(app, pilot, "Three")
        await type_in(app, pilot, '/set system ""')
        await say(app, pilot, "Four")
    systems = [prompt[0].content for prompt in engine.prompts]
    assert systems == ["Be brief.", "Be loud.\nVery.", "Be loud.\nVery.", "Three"]
    assert [m.content for m in engine.prompts[2]] == ["Be loud.\nVery.", "Three"]


async def test_a_parameter_of_the_sampler_loads_nothing(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        await type_in(app, pilot, "/set parameter temperature 0.3")
        await told(app, pilot, "Set parameter 'temperature' to '0.3'.")
        await say(app, pilot, "Hi")
        await type_in(app, pilot, "/set parameter stop a b")
        await told(app, pilot, "Set parameter 'stop' to 'a b'.")
        await say(app, pilot, "Again")
    assert [r.parameters.temperature for r in engine.requests] == [0.3, 0.3]
    assert [r.parameters.stop for r in engine.requests] == [None, ("a", "b")]
    assert len(engine.loads) == 1


async def test_a_parameter_of_loading_loads_the_base_again_under_the_same_stack(
    model: Model,
) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        await pilot.press("tab", "1", "escape")
        await ready(app, pilot)
        await type_in(app, pilot, "/set parameter num_ctx 1024")
        sentence = "Set parameter 'num_ctx' to '1024'. The base was loaded again."
        await told(app, pilot, sentence)
        assert [spec.parameters.num_ctx for spec in engine.loads] == [512, 1024]
        assert engine.stacks[-1].label == "pirate 1.00"
        answer = await say(app, pilot, "Hi")
        assert answer.label == "pirate 1.00"


async def test_a_question_asked_while_the_base_is_loaded_again_is_answered(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        engine.load_gate = asyncio.Event()
        await type_in(app, pilot, "/set parameter num_ctx 1024")
        await type_in(app, pilot, "Hi")
        assert app.chat.session.is_waiting
        engine.load_gate.set()
        await wait_until(pilot, lambda: app.chat.session.conversation.last_answer, "an answer")
        assert (await ended(app, pilot)).text == "Yes."


async def test_a_refused_parameter_leaves_the_old_ones(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        engine.load_error = BaseError("There is not enough memory.")
        await type_in(app, pilot, "/set parameter num_ctx 999999")
        await told(app, pilot, "There is not enough memory.")
        await ready(app, pilot)
        assert app.chat.session.model == model
        assert (await say(app, pilot, "Hi")).state is AnswerState.FINISHED


async def test_thinking_is_asked_for_or_against(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "One")
        await type_in(app, pilot, "/set think")
        await say(app, pilot, "Two")
        await type_in(app, pilot, "/set nothink")
        await say(app, pilot, "Three")
    assert [request.thinks for request in engine.requests] == [None, True, False]


async def test_what_a_command_shows_is_no_part_of_the_chat(model: Model) -> None:
    engine = ScriptedEngine([["Yes."], ["No."]])
    async with chat(engine, model) as (app, pilot):
        await say(app, pilot, "Hi")
        await type_in(app, pilot, "/show system")
        assert (await noted(app, pilot)).text == "Be brief."
        assert "/show system" in screen_text(app)
        await type_in(app, pilot, "/show modelfile")
        await wait_until(pilot, lambda: "MESSAGE assistant Yes." in screen_text(app), "its text")
        assert "Be brief.\n" not in (await noted(app, pilot)).text.partition("MESSAGE")[2]
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: len(engine.prompts) == 2, "a second answer")
        assert (await ended(app, pilot)).text == "No."
        assert "/show" not in screen_text(app)
    assert engine.prompts[0] == engine.prompts[1]


async def test_a_shown_text_reaches_the_screen_without_control_characters(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, system="a\x1b[31mb\u202ec")
    async with chat(ScriptedEngine([["x"]]), model) as (app, pilot):
        await type_in(app, pilot, "/show system")
        await noted(app, pilot)
        assert "a[31mbc" in screen_text(app)
        assert not {"\x1b", "\u202e"} & set(screen_text(app))


async def test_an_unknown_command_stays_in_the_prompt(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        await type_in(app, pilot, "/x")
        await told(app, pilot, "Unknown command '/x'. Type /? for help")
        assert app.chat.query_one(Prompt).text == "/x"
        await say(app, pilot, "//set it free")
        await say(app, pilot, "/etc/hosts is what?")
    assert [p[-1].content for p in engine.prompts] == ["/set it free", "/etc/hosts is what?"]


async def test_while_an_answer_is_written_it_cannot_be_changed_but_looked_at(model: Model) -> None:
    engine = ScriptedEngine([["Half ", "whole."]], gate=asyncio.Event())
    async with chat(engine, model) as (app, pilot):
        await begin(app, pilot, "Hi")
        for text in (
            "/clear",
            "/save mine",
            "/set system x",
            "/load demo",
            "/set parameter top_k 3",
        ):
            await type_in(app, pilot, text)
            assert app.chat.query_one(Prompt).text == text
        assert set(notices(app)) == {"Still answering. Esc stops it."}
        await type_in(app, pilot, "/show system")
        await noted(app, pilot)
        await type_in(app, pilot, "/?")
        await wait_until(pilot, lambda: "Tab completes" in screen_text(app), "the help")
        assert engine.gate is not None
        engine.gate.set()
        await wait_until(pilot, lambda: not app.chat.session.is_answering, "the end")
        await ready(app, pilot)
        kinds = [type(entry) for entry in app.chat.session.conversation.entries]
        assert kinds[-3:] == [Answer, Note, Note]
        await pilot.press("ctrl+home")
        await wait_until(pilot, lambda: "Half whole." in screen_text(app), "the whole answer")
    assert app.chat.session.model == model


async def test_a_saved_chat_is_a_model_with_its_stack_and_messages(
    model: Model, tmp_path: Path
) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        await pilot.press("tab", "1", "left", "down", "2", "2", "escape")
        await ready(app, pilot)
        await say(app, pilot, "Hi")
        await type_in(app, pilot, "/set parameter temperature 0.5")
        await told(app, pilot, "Set parameter 'temperature' to '0.5'.")
        await type_in(app, pilot, "/save mine")
        await told(app, pilot, "Created new model 'mine'.")
        saved = Library(tmp_path / "home").get("mine")
        assert [(a.name, a.scale) for a in saved.adapters] == [("pirate", 0.95), ("formal", 0.0)]
        assert saved.messages == (Message("user", "Hi"), Message("assistant", "Yes."))
        assert (saved.system, saved.parameters.temperature) == ("Be brief.", 0.5)
        await type_in(app, pilot, "/load mine")
        session = app.chat.session
        await wait_until(pilot, lambda: session.model and session.model.name == "mine:latest", "it")
        await ready(app, pilot)
        assert app.chat.query_one(Rack).mix.label == "pirate 0.95"
        await type_in(app, pilot, "/list")
        assert "mine:latest" in (await noted(app, pilot)).text


async def test_a_model_that_is_not_there_is_said(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        await type_in(app, pilot, "/load demmo")
        await told(app, pilot, """model 'demmo:latest' not found (did you mean "demo"?)""")
        assert app.chat.session.model == model


async def test_bye_ends_the_program(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        await type_in(app, pilot, "/bye")
        await wait_until(pilot, lambda: app._exit, "the end")


async def test_tab_completes_a_command_and_else_goes_to_the_rack(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        prompt, suggestions = app.chat.query_one(Prompt), app.chat.query_one("#suggestions")
        assert not suggestions.display
        await pilot.press("slash", "s")
        await pilot.pause()
        assert "/show" in screen_text(app)
        await pilot.press("tab")
        assert prompt.text == "/set "
        await pilot.pause()
        assert "nothink" in screen_text(app)
        await pilot.press("p", "tab")
        await pilot.pause()
        assert prompt.text == "/set parameter "
        assert "temperature" in screen_text(app)
        prompt.put("/load dem")
        await wait_until(pilot, lambda: "demo" in screen_text(app), "the names of the models")
        await pilot.press("tab")
        assert prompt.text == "/load demo"
        assert prompt.has_focus
        prompt.put("text")
        await pilot.pause()
        assert not suggestions.display
        await pilot.press("tab")
        assert app.chat.query_one(Rack).has_focus


async def test_enter_sends_a_command_that_could_go_on(model: Model) -> None:
    async with chat(ScriptedEngine([["Yes."]]), model) as (app, pilot):
        await pilot.press(*"/set", "enter")
        assert "/set system TEXT" in (await noted(app, pilot)).text
        assert app.chat.query_one(Prompt).text == ""


async def test_keys_that_come_faster_than_they_are_drawn_are_not_lost(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        prompt = app.chat.query_one(Prompt)
        for key in (*"Hi", "enter", *"/se"):
            character = "/" if key == "/" else key if len(key) == 1 else None
            app.post_message(Key(key, character))
        await wait_until(pilot, lambda: prompt.text == "/se", "what was typed after Enter")
        await wait_until(pilot, lambda: engine.prompts, "the message")
        await ended(app, pilot)
        app.post_message(Key("t", "t"))
        app.post_message(Key("tab", "\t"))
        await wait_until(pilot, lambda: prompt.text == "/set ", "the completed command")
    assert [m.content for m in engine.prompts[0]] == ["Be brief.", "Hi"]


async def test_a_question_sent_in_one_go_with_a_command_is_answered_after_it(model: Model) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, model) as (app, pilot):
        for text in ("/set parameter num_ctx 1024", "Hi"):
            for character in text:
                app.post_message(Key("space" if character == " " else character, character))
            app.post_message(Key("enter", None))
        await wait_until(pilot, lambda: app.chat.session.conversation.last_answer, "an answer")
        assert (await ended(app, pilot)).text == "Yes."
    assert [spec.parameters.num_ctx for spec in engine.loads] == [512, 1024]
    assert [m.content for m in engine.prompts[0]] == ["Be brief.", "Hi"]
