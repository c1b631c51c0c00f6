"""What a command can become while it is typed, and what Tab makes of it."""

from __future__ import annotations

import pytest

from tui.chat.prompt.slash.completion import candidates, completed, is_model_name_next, usage
from tui.chat.prompt.slash.table import PARAMETER_NAMES

MODELS = ("demo", "captain:v2", "capital")


def words(text: str) -> list[str]:
    return [candidate.word for candidate in candidates(text, MODELS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", ["/set", "/show", "/load", "/save", "/clear", "/list", "/hub", "/bye", "/?"]),
        ("/s", ["/set", "/show", "/save"]),
        ("/ex", ["/exit"]),
        ("/set ", ["parameter", "system", "think", "nothink", "fuse", "swap", "live", "prepare"]),
        ("/set fuse ", ["auto", "always", "never"]),
        ("/set SWAP k", ["keep"]),
        ("/set live o", ["on", "off"]),
        ("/set fuse auto ", []),
        ("/show t", ["template"]),
        ("/set parameter ", list(PARAMETER_NAMES)),
        ("/set parameter top", ["top_k", "top_p"]),
        ("/set parameter use_mmap ", ["true", "false"]),
        ("/set parameter flash_attention ", ["true", "false"]),
        ("/set parameter kv_cache_type q4", ["q4_1", "q4_0"]),
        ("/load CAP", ["captain:v2", "capital"]),
        ("/? s", ["set", "show", "shortcuts"]),
        ("/set system ", []),
        ("/save ", []),
        ("/clear ", []),
        ("/etc/", []),
        ("Hello", []),
        ("/set\n", []),
    ],
)
def test_the_words_that_may_follow(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/c", "/clear"),
        ("/se", "/set "),
        ("/s", "/set "),
        ("/set par", "/set parameter "),
        ("/set  t", "/set  think"),
        ("/set parameter temp", "/set parameter temperature "),
        ("/set parameter num", "/set parameter num_"),
        ("/load ca", "/load capt"),
        ("/load cap", "/load captain:v2"),
        ("/L", "/load "),
        ("/set pre", "/set prepare "),
        ("/set live of", "/set live off"),
        ("/show info", "/show info"),
        ("/nothing", "/nothing"),
    ],
)
def test_tab_completes_as_far_as_the_words_agree(text: str, expected: str) -> None:
    models = ("captain:v2", "captive") if text == "/load ca" else MODELS
    assert completed(text, candidates(text, models)) == expected


def test_completing_again_and_again_ends_in_a_command() -> None:
    text = "/s"
    for _ in range(3):
        text = completed(text, candidates(text))
    assert text == "/set parameter num_ctx "


def test_names_of_models_are_read_only_where_they_can_stand() -> None:
    assert is_model_name_next("/load d")
    assert not is_model_name_next("/load")
    assert not is_model_name_next("/save d")
    assert not is_model_name_next("/load a b")


def test_the_usage_stands_where_the_arguments_are_typed() -> None:
    assert usage("/save m").startswith("/save NAME")
    assert usage("/set system Be").startswith("/set system TEXT")
    assert usage("/set system") == usage("Hello") == usage("/clear ") == ""
