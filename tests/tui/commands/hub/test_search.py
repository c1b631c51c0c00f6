"""`tui search`: adapters of a hub as rows or as JSON, judged before anything is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.gguf.metadata import ValueType
from tests.support import tiny_models
from tests.support.fake_hub import TOKEN, FakeHub, Weather
from tests.support.gguf_raw import RawGguf, RawValue
from tests.support.hub_child import HubChild

BASE = "meta/Llama-1B-Instruct"


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    """A hub with four adapters, of which three are of `named.gguf`."""
    child.folder = tmp_path
    hub = child.hub
    hub.clear()
    plain = tiny_models.write_base(tmp_path / "plain.gguf")
    named = RawGguf.read(plain)
    for key, value in (("count", 1), ("0.repo_url", f"https://huggingface.co/{BASE}")):
        kind = ValueType.UINT32 if isinstance(value, int) else ValueType.STRING
        named.metadata[f"general.base_model.{key}"] = RawValue(kind, value)
    named.write(tmp_path / "named.gguf")
    other = tiny_models.write_base(tmp_path / "other.gguf", architecture="qwen2")
    lora = tiny_models.write_adapter(tmp_path / "a.gguf", plain).read_bytes()
    hub.repos |= {
        "ann/sql-lora": {"lora.gguf": lora},
        "bob/sql-qwen": {
            "lora.gguf": tiny_models.write_adapter(tmp_path / "b.gguf", other).read_bytes()
        },
        "cid/poet": {"adapter_config.json": b"{}", "adapter_model.bin": b"PK"},
        "dan/quants": {"m-Q4_K_M.gguf": plain.read_bytes(), "m-Q8_0.gguf": plain.read_bytes()},
    }
    for number, name in enumerate(hub.repos):
        base = "other/Base" if name == "dan/quants" else BASE
        hub.facts[name] = {
            "downloads": 4000 - 1000 * number,
            "likes": number,
            "lastModified": f"2026-01-0{number + 1}T00:00:00.000Z",
            "tags": ["lora", f"base_model:adapter:{base}", "license:mit"],
        }
    return hub


def found(child: HubChild, *arguments: str, **given: Any) -> list[dict[str, Any]]:
    ended = child.tui("search", *arguments, "--json", **given)
    assert ended.code == 0, ended.err
    rows: list[dict[str, Any]] = json.loads(ended.out)
    return rows


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["repository"] for row in rows]


def test_rows_tell_what_a_repository_is(child: HubChild, hub: FakeHub) -> None:
    hub.gated.add("bob/sql-qwen")
    ended = child.tui("search", "sql")
    assert (ended.code, ended.err) == (0, "")
    heading, first, second = ended.out.splitlines()
    assert heading.split() == [
        *("REPOSITORY", "KIND", "DOWNLOADS", "LIKES", "MODIFIED", "SIZE", "LICENSE", "ACCESS"),
    ]
    cells = [cell.strip() for cell in first.split("  ") if cell.strip()]
    assert cells[:4] == ["ann/sql-lora", "GGUF LoRA", "4K", "0"]
    assert cells[4].endswith(" ago")
    assert cells[5:] == ["34 KB", "mit", "open"]
    assert second.endswith("gated")


def test_a_document_holds_all_that_is_known(child: HubChild, hub: FakeHub) -> None:
    (row,) = found(child, "poet")
    assert row == {
        "repository": "cid/poet",
        "kind": "PEFT",
        "downloads": 2000,
        "likes": 2,
        "modified": "2026-01-03T00:00:00+00:00",
        "size_bytes": 4,
        "license": "mit",
        "gated": False,
        "private": False,
        "base_models": [],
        "revision": row["revision"],
        "fit": None,
        "reason": None,
    }
    assert len(row["revision"]) == 40


def test_a_base_is_asked_for_under_all_its_names(child: HubChild, hub: FakeHub) -> None:
    hub.facts["cid/poet"]["tags"] = ["base_model:adapter:unsloth/Llama-1B-Instruct-bnb-4bit"]
    ended = child.tui("search", "--base", "named.gguf", "--json")
    assert set(names(json.loads(ended.out))) == {"ann/sql-lora", "bob/sql-qwen", "cid/poet"}
    assert ended.err.startswith(f"Note: These are adapters of {BASE} and ")
    assert names(found(child, "poet", "--base", "named.gguf")) == ["cid/poet"]


def test_a_base_without_a_repository_is_searched_by_words(child: HubChild, hub: FakeHub) -> None:
    ended = child.tui("search", "sql", "--base", "plain.gguf", "--json")
    assert names(json.loads(ended.out)) == ["ann/sql-lora", "bob/sql-qwen"]
    assert "does not say which repository of the Hub it was made from" in ended.err
    ended = child.tui("search", "--base", "plain.gguf")
    assert (ended.code, ended.out) == (1, "")
    assert "add words" in ended.err


def test_order_and_number_are_as_asked_for(child: HubChild, hub: FakeHub) -> None:
    assert names(found(child, "l", "--sort", "likes", "--limit", "1")) == ["bob/sql-qwen"]
    assert names(found(child, "sql", "--sort", "recent"))[0] == "bob/sql-qwen"


def test_what_a_limit_cuts_off_is_said(child: HubChild, hub: FakeHub) -> None:
    assert (
        "No more than 1 are shown: a larger --limit"
        in child.tui("search", "sql", "--limit", "1").err
    )
    assert child.tui("search", "sql", "--limit", "3").err == ""


@pytest.mark.parametrize("address", ["hf.co", "https://huggingface.co"])
def test_the_address_of_a_repository_finds_it(child: HubChild, hub: FakeHub, address: str) -> None:
    assert names(found(child, f"{address}/ann/sql-lora")) == ["ann/sql-lora"]


def test_fit_is_told_of_each_without_its_download(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    rows = found(child, "", "a", "--base", "plain.gguf", "--fit")
    assert names(rows) == ["ann/sql-lora", "dan/quants"]
    rows += found(child, "--base", "named.gguf", "--fit")
    fits = {row["repository"]: (row["fit"], row["reason"]) for row in rows}
    assert fits["ann/sql-lora"] == ("fits", None)
    assert fits["bob/sql-qwen"][0] == "does not fit"
    assert "'qwen2'" in fits["bob/sql-qwen"][1]
    assert fits["cid/poet"][0] == "cannot tell"
    assert fits["dan/quants"] == (
        "does not fit",
        "hf.co/dan/quants holds a model, not an adapter.",
    )
    assert names(rows)[2:] == ["ann/sql-lora", "bob/sql-qwen", "cid/poet"]
    assert not list((tmp_path / "cache").rglob("*.gguf"))
    text = child.tui("search", "--base", "named.gguf", "--fit").out
    assert text.splitlines()[0].endswith("  FIT")
    assert "open     fits\n" in text
    assert "open     does not fit: " in text


def test_the_order_stays_while_many_are_judged_at_once(child: HubChild, hub: FakeHub) -> None:
    for number in range(20):
        name = f"eve/many-{number}"
        hub.repos[name] = hub.repos["ann/sql-lora"]
        hub.facts[name] = {"downloads": 20 - number, "tags": ["lora"]}
    rows = found(child, "many", "--base", "plain.gguf", "--fit")
    assert names(rows) == [f"eve/many-{number}" for number in range(20)]
    assert {row["fit"] for row in rows} == {"fits"}


def test_one_that_cannot_be_judged_hides_no_other(child: HubChild, hub: FakeHub) -> None:
    hub.gated.add("ann/sql-lora")
    rows = found(child, "sql", "--base", "plain.gguf", "--fit")
    assert rows[0]["fit"] == "cannot tell"
    assert "accept its conditions" in rows[0]["reason"]
    assert rows[1]["fit"] == "does not fit"
    assert found(child, "sql", "--base", "plain.gguf", "--fit", token=TOKEN)[0]["fit"] == "fits"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("search nothing", "Nothing tagged as a LoRA has 'nothing' in its name: try fewer"),
        (
            "search nothing --base named.gguf",
            f"No adapter of {BASE} has 'nothing' in its name: try other words",
        ),
    ],
)
def test_nothing_found_says_what_to_try(
    child: HubChild, hub: FakeHub, arguments: str, words: str
) -> None:
    ended = child.tui(*arguments.split())
    assert (ended.code, ended.out) == (0, "")
    assert words in ended.err
    assert child.tui(*arguments.split(), "--json").out == "[]\n"


def test_a_base_without_adapters_says_what_to_try(child: HubChild, hub: FakeHub) -> None:
    hub.repos.clear()
    ended = child.tui("search", "--base", "named.gguf")
    assert ended.code == 0
    assert f"The Hub knows no adapter of {BASE}" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("search", "Name what to search for"),
        ("search  ", "Name what to search for"),
        ("search a --limit 0", "--limit must be between 1 and 1000, not 0"),
        ("search a --limit 1001", "--limit must be between 1 and 1000, not 1001"),
        ("search a --limit many", "invalid int value"),
        ("search a --sort size", "invalid choice"),
        ("search a --fit", "--fit needs the base"),
    ],
)
def test_wrong_use_is_one_sentence(
    child: HubChild, hub: FakeHub, arguments: str, words: str
) -> None:
    ended = child.tui(*arguments.split(" "))
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert hub.requests == []


@pytest.mark.parametrize("base", ["nothing", "./nothing.gguf", "a.gguf"])
def test_a_base_that_is_none_is_said(child: HubChild, hub: FakeHub, base: str) -> None:
    ended = child.tui("search", "sql", "--base", base)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1


def test_bad_weather_is_one_sentence(child: HubChild, hub: FakeHub) -> None:
    hub.weather.append(Weather("/api/models", body=b"<html>proxy</html>"))
    ended = child.tui("search", "sql")
    assert (ended.code, ended.out) == (1, "")
    assert "something that is no list" in ended.err
    ended = child.tui("search", "sql", endpoint="http://127.0.0.1:9")
    assert ended.code == 1
    assert "cannot be reached: check the network" in ended.err
    assert ended.out == ""
    hub.weather.clear()
    child.tui("pull", "hf.co/ann/sql-lora")
    ended = child.tui("search", "sql", endpoint="http://127.0.0.1:9")
    assert [line.split()[0] for line in ended.out.splitlines()] == ["NAME", "sql-lora"]
    assert "these adapters were pulled before" in ended.err
    assert child.tui("search", "sql", "--json", endpoint="http://127.0.0.1:9").out == ""


def test_patience_is_what_the_hub_asks_for(child: HubChild, hub: FakeHub) -> None:
    hub.weather.append(Weather("/api/models", 1, 429, {"Retry-After": "3"}))
    assert len(found(child, "sql")) == 2


def test_what_a_repository_says_steers_no_terminal(child: HubChild, hub: FakeHub) -> None:
    hub.facts["cid/poet"]["cardData"] = {"license": "mit\x1b[2J\nfake row"}
    out = child.tui("search", "poet").out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_the_token_is_sent_and_never_shown(child: HubChild, hub: FakeHub) -> None:
    hub.private.add("ann/sql-lora")
    assert len(found(child, "sql")) == 1
    ended = child.tui("search", "sql", "--json", token=TOKEN)
    assert json.loads(ended.out)[0]["private"]
    assert TOKEN in hub.tokens
    assert TOKEN not in ended.out + ended.err
