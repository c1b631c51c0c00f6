"""Which lines are commands, what they say, and what is sent to the model instead."""

from __future__ import annotations

import pytest

from modelfiles.parameters import Parameters
from tui.chat.prompt.slash.parser import SlashCommand, SlashError, parse
from tui.chat.prompt.slash.table import TABLE, Row, Verb


def command(text: str) -> SlashCommand:
    parsed = parse(text)
    assert isinstance(parsed, SlashCommand)
    return parsed


def error(text: str) -> str:
    with pytest.raises(SlashError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.verb)
def test_every_command_of_the_table_is_understood(row: Row) -> None:
    arguments = {"NAME VALUE": " top_k 3", "TEXT": " Be kind.", "NAME": " mine", "": ""}
    arguments["WORDS"] = " sql lora"
    modes = {Verb.SET_FUSE: " never", Verb.SET_SWAP: " keep"}
    arguments["MODE"] = modes.get(row.verb, " on")
    for typed in filter(None, (row.verb.value, row.alias)):
        assert command(typed + arguments[row.arguments]).verb is row.verb


@pytest.mark.parametrize(
    "text",
    [
        "Hello /set",
        "/etc/hosts is a file",
        "/etc/hosts",
        "/usr holds what?",
        "/home is full",
        "/ means division",
        "// what does this comment mean?",
        "//server/share",
        "1/2",
    ],
)
def test_a_text_that_only_begins_with_a_slash_is_sent_as_it_is(text: str) -> None:
    assert parse(f" {text} ") == text


@pytest.mark.parametrize("text", ["/set up a tent", "/show me", "/word", "/clear the table"])
def test_two_slashes_send_what_would_be_a_command(text: str) -> None:
    assert parse(f"/{text}") == text


def test_an_unknown_word_is_an_error_that_names_the_nearest() -> None:
    assert error("/x") == "Unknown command '/x'. Type /? for help"
    assert (
        error("/claer") == """Unknown command '/claer' (did you mean "/clear"?). Type /? for help"""
    )
    assert '(did you mean "/set"?)' in error("/sett system Be kind.")
    assert error("/set verbose") == "Unknown command '/set verbose'. Type /? set for help"
    assert '(did you mean "license"?)' in error("/show licence")


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("/set parameter temperature 0.3", Parameters(temperature=0.3)),
        ("/SET Parameter num_ctx 2048", Parameters(num_ctx=2048)),
        ("/set parameter stop a b", Parameters(stop=("a", "b"))),
        ('/set parameter stop "a b" c', Parameters(stop=("a b", "c"))),
        ("/set parameter use_mmap false", Parameters(use_mmap=False)),
        ("/set parameter kv_cache_type q8_0", Parameters(kv_cache_type="q8_0")),
        ("/set parameter rpc_hosts a:1,b:2", Parameters(rpc_hosts="a:1,b:2")),
    ],
)
def test_a_parameter_is_read_as_a_modelfile_reads_it(text: str, parameters: Parameters) -> None:
    assert command(text).parameters == parameters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tempature 1", "unknown parameter 'tempature' (did you mean \"temperature\"?)"),
        ("top_k 0.5", "invalid int value [0.5]: top_k is a whole number"),
        ("temperature hot", "invalid float value [hot]: temperature is a number"),
        ("use_mmap maybe", "invalid bool value [maybe]: use_mmap is true or false"),
        ("top_p 7", "top_p must lie between 0.0 and 1.0, not 7.0"),
        ("mirostat 1", "mirostat is deprecated and has no effect"),
        ("top_k 3 4", "top_k takes one value, not 2"),
        ('stop ""', "stop needs a text that is not empty"),
    ],
)
def test_a_wrong_parameter_is_an_error_of_one_sentence(text: str, said: str) -> None:
    assert error(f"/set parameter {text}") == f"Couldn't set parameter: {said}"


def test_a_parameter_without_a_value_shows_the_usage() -> None:
    assert error("/set parameter top_k").endswith("/set parameter NAME VALUE")


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ("/set system You are  a cat.", "You are  a cat."),
        ('/set system """\nOne.\nTwo.\n"""', "One.\nTwo."),
        ("/set system One.\nTwo.", "One.\nTwo."),
        ('/set system "quoted"', '"quoted"'),
        ('/set system ""', ""),
        ('/set system """"""', ""),
    ],
)
def test_a_system_message_may_have_several_lines(text: str, system: str) -> None:
    assert command(text).argument == system


def test_three_quotes_that_are_not_closed_are_an_error() -> None:
    assert 'has to end with """' in error('/set system """One.\nTwo.')
    assert 'has to end with """' in error('/set system """"')


def test_a_name_is_one_word_that_a_model_may_have() -> None:
    assert command("/save mine:v2").argument == "mine:v2"
    assert error("/save").endswith("/save NAME")
    assert error("/load a b").endswith("/load NAME")
    assert "invalid model name" in error("/save ../x").lower()


def test_what_follows_a_command_that_takes_nothing_is_an_error_with_the_way_out() -> None:
    said = "/clear takes nothing after it; a message that begins so is sent with //clear"
    assert error("/clear the table") == said


def test_a_group_alone_and_a_lonely_slash_ask_for_help() -> None:
    assert (command("/set").verb, command("/set").argument) == (Verb.HELP, "set")
    assert (command("/help show").verb, command("/? /show").argument) == (Verb.HELP, "show")
    assert command("/").verb is Verb.HELP
    assert error("/? me") == "There is help for set, show, shortcuts, not for 'me'."


def test_the_heading_is_the_first_line_as_typed() -> None:
    assert command(" /Show info ").typed == "/Show info"


def test_words_for_the_hub_are_free() -> None:
    assert command("/hub").argument == ""
    assert command("/hub  sql  lora ").argument == "sql  lora"
