"""What commands compute: when they are refused, what is saved, what is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.gguf.base_facts import read_base_facts
from engine.resolve.adapter import read_stack
from modelfiles.language.modelfile import Modelfile
from modelfiles.model import ListedModel, Message, Model
from modelfiles.parameters import Parameters
from tests.support.chat import HISTORY, tiny_model
from tui.chat.prompt.slash.actions import help_text, model_of_now, models_text, refusal, shown_text
from tui.chat.prompt.slash.table import SETTING_KEYS, TABLE, Need, Verb
from tui.chat.session.meter import Phase
from tui.conversation import Conversation


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", system="Be brief.", messages=HISTORY)


def talked(model: Model) -> Conversation:
    conversation = Conversation()
    conversation.restart(model.system, model.messages)
    conversation.ask("Hi")
    answer = conversation.begin_answer("tiny", "base")
    conversation.grow_answer(answer, "Hello.")
    conversation.note("/list", "what a command shows")
    return conversation


def test_the_model_of_now_has_the_stack_of_the_rack_and_the_conversation(model: Model) -> None:
    stack, _ = read_stack(model)
    stack = stack.with_scale("pirate", 0.7).with_scale("formal", 0.4).with_enabled("formal", False)
    now = model_of_now(model, stack, talked(model))
    assert [(a.name, a.scale) for a in now.adapters] == [("pirate", 0.7), ("formal", 0.0)]
    assert [a.path for a in now.adapters] == [a.path for a in model.adapters]
    assert now.messages == (*HISTORY, Message("user", "Hi"), Message("assistant", "Hello."))
    assert (now.base, now.system, now.parameters) == (model.base, "Be brief.", model.parameters)


def test_a_last_question_without_an_answer_is_not_saved(model: Model) -> None:
    conversation = talked(model)
    conversation.ask("And then?")
    stack, _ = read_stack(model)
    assert model_of_now(model, stack, conversation).messages[-1].content == "Hello."


def test_the_shown_modelfile_reads_back_as_the_model(model: Model) -> None:
    stack, _ = read_stack(model)
    base = read_base_facts(model.base)
    now = model_of_now(model, stack.with_scale("pirate", 0.7), talked(model))
    text = shown_text(Verb.SHOW_MODELFILE, now, stack, base)
    assert Modelfile.from_text(text) == Modelfile.from_model(now)


def test_each_part_is_shown_and_its_absence_is_said(model: Model, tmp_path: Path) -> None:
    stack, _ = read_stack(model)
    base = read_base_facts(model.base)
    bare = Model("bare:latest", model.base)
    info = shown_text(Verb.SHOW_INFO, model, stack, base)
    assert "scale 0.00" in info
    assert "architecture" in info
    assert "temperature" in shown_text(Verb.SHOW_PARAMETERS, model, stack, base)
    assert shown_text(Verb.SHOW_SYSTEM, model, stack, base) == "Be brief."
    missing = {
        Verb.SHOW_LICENSE: "No license was specified for this model.",
        Verb.SHOW_PARAMETERS: "No parameters were specified for this model.",
        Verb.SHOW_SYSTEM: "No system message was specified for this model.",
    }
    for verb, said in missing.items():
        assert shown_text(verb, bare, stack, base) == said
    own = Model("own:latest", model.base, template="{{ .Prompt }}", licenses=("MIT", "BSD"))
    assert shown_text(Verb.SHOW_TEMPLATE, own, stack, base) == "{{ .Prompt }}"
    assert shown_text(Verb.SHOW_LICENSE, own, stack, base) == "MIT\n\nBSD"


def test_while_an_answer_is_written_only_what_changes_nothing_is_possible() -> None:
    possible = {row.verb for row in TABLE if refusal(row.verb, Phase.WRITING) is None}
    shows = {verb for verb in Verb if verb.startswith("/show")}
    assert possible == shows | {Verb.LIST, Verb.HUB, Verb.BYE, Verb.HELP, *SETTING_KEYS}
    assert refusal(Verb.SAVE, Phase.PREFILL) == "Still answering. Esc stops it."


def test_without_a_model_one_can_be_loaded() -> None:
    assert refusal(Verb.LOAD, Phase.EMPTY) is None
    assert refusal(Verb.SHOW_INFO, Phase.EMPTY) == "No model is loaded: ctrl+o chooses one."
    assert refusal(Verb.LOAD, Phase.LOADING) == "The model is being loaded: wait for it."
    assert all(refusal(row.verb, Phase.READY) is None for row in TABLE)
    assert Need.NOTHING in {row.need for row in TABLE}


def test_the_help_names_every_command_and_fits_the_page() -> None:
    lines = help_text().splitlines()
    assert all(any(line.startswith(row.usage) for line in lines) for row in TABLE)
    widest = max(lines[: len(TABLE)], key=len)
    assert len(widest) <= 63, f"a terminal of 116 columns wraps {widest!r}"
    assert {line.split()[0] for line in help_text("set").splitlines()} == {"/set"}


def test_the_list_tells_where_a_model_is_from() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    listed = [
        ListedModel("mine:latest", "a" * 12, 3_100_000, now, "created", 2),
        ListedModel("demo:latest", "b" * 12, 4_400_000, now, "package", 4),
    ]
    heading, mine, demo = models_text(listed, now).splitlines()
    assert heading.split() == ["NAME", "SIZE", "ADAPTERS", "MODIFIED"]
    assert mine.startswith("mine:latest")
    assert demo.endswith("package")


def test_parameters_that_are_set_are_shown_with_their_values(model: Model) -> None:
    stack, _ = read_stack(model)
    base = read_base_facts(model.base)
    set_ones = Model("m:latest", model.base, parameters=Parameters(temperature=0.3, stop=("a b",)))
    shown = shown_text(Verb.SHOW_PARAMETERS, set_ones, stack, base)
    assert [line.split(maxsplit=1) for line in shown.splitlines()] == [
        ["temperature", "0.3"],
        ["stop", '"a b"'],
    ]
