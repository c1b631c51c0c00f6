"""A card becomes text for a terminal: front matter, HTML and pictures go, code stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import HubError
from engine.hub.search.card_text import MAX_BYTES, MAX_LINES, readable, remote_card
from tests.support.fake_hub import COMMIT, FakeHub, Weather, serving
from tests.support.hub_in_process import point_at


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving() as hub:
        point_at(hub, tmp_path / "cache", monkeypatch)
        yield hub


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        ("---\nlicense: mit\n---\n# Title\ntext", "# Title\ntext"),
        ("\ufeff---\r\na: b\r\n---\r\ntext", "text"),
        ("---\nno end", "---\nno end"),
        ("above\n---\nbelow\n---\nend", "above\n---\nbelow\n---\nend"),
        ("a <!-- one\ntwo --> b", "a  b"),
        ("a <!-- never closed\n# b", "a"),
        ('<div align="center">\n<img src="x.png"/>centred</div>', "centred"),
        ("1 < 2 and 3 > 2, a<b", "1 < 2 and 3 > 2, a<b"),
        (
            "![a plot](https://x/y.png) and [![badge](b.svg)](https://x)",
            "a plot and [badge](https://x)",
        ),
        ("[![](b.svg)](https://x)text", "text"),
        (
            "```html\n<b>![x](y)</b> <!-- kept -->\n```\n<b>gone</b>",
            "```html\n<b>![x](y)</b> <!-- kept -->\n```\ngone",
        ),
        ("a\n\n\n\n\nb  ", "a\n\nb"),
        ("", ""),
    ],
)
def test_what_a_terminal_cannot_show_goes(card: str, shown: str) -> None:
    assert readable(card, "ann/lora") == shown


def test_a_long_card_ends_with_where_the_rest_is_and_closes_its_code() -> None:
    lines = readable("```\n" + "x\n" * MAX_LINES, "ann/lora").splitlines()
    assert len(lines) == MAX_LINES + 3
    assert lines[-3:] == ["```", "", "The rest of the card is at huggingface.co/ann/lora."]


def test_of_a_large_card_only_the_beginning_is_fetched(hub: FakeHub) -> None:
    hub.repos["ann/lora"] = {"README.md": b"# A\n" + b"x" * (3 * MAX_BYTES)}
    card = remote_card("ann/lora", COMMIT)
    assert hub.ranges[-1] == f"bytes=0-{MAX_BYTES - 1}"
    assert card.startswith("# A\nxxx")
    assert card.endswith("The rest of the card is at huggingface.co/ann/lora.")
    assert len(card) < 2 * MAX_BYTES


def test_bytes_that_are_no_text_are_replaced(hub: FakeHub) -> None:
    hub.repos["ann/lora"] = {"README.md": b"caf\xe9 \xff"}
    assert remote_card("ann/lora", COMMIT) == "caf\ufffd \ufffd"


@pytest.mark.parametrize("files", [{}, {"README.md": b""}])
def test_no_card_is_an_empty_one(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.repos["ann/lora"] = files
    assert remote_card("ann/lora", COMMIT) == ""


def test_a_hub_that_fails_is_told(hub: FakeHub) -> None:
    hub.repos["ann/lora"] = {"README.md": b"# A"}
    hub.weather.append(Weather("README", status=500))
    with pytest.raises(HubError, match=r"answered 500 for hf\.co/ann/lora"):
        remote_card("ann/lora", COMMIT)
