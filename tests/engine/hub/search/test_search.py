"""Searches in a Hub on the loopback, through its real client."""

from __future__ import annotations

from typing import Any

import pytest

from engine.hub.search.search import RepositoryKind, kind_of, repositories_of
from tests.support.fake_hub import TOKEN, FakeHub, Weather, serving
from tests.support.hub_child import HubChild

BASE = "meta/Llama-1B-Instruct"


@pytest.fixture
def hub(child: HubChild) -> FakeHub:
    hub = child.hub
    hub.clear()
    for number in range(130):
        name = f"user{number}/sql-{number}" if number % 2 else f"user{number}/poet-{number}"
        hub.repos[name] = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}
        hub.facts[name] = {
            "downloads": number,
            "likes": 200 - number,
            "lastModified": f"2026-01-01T00:{number % 60:02}:00.000Z",
            "tags": ["lora", f"base_model:adapter:{BASE if number < 100 else 'other/Base'}"],
        }
    return hub


def search(
    child: HubChild,
    query: str = "",
    names: tuple[str, ...] = (BASE,),
    limit: int = 1000,
    sort: str = "downloads",
    token: str = "",
) -> list[Any]:
    found: list[Any] = child.ask(
        "search", query=query, names=names, limit=limit, sort=sort, token=token
    )
    return found


def test_adapters_of_a_base_come_in_pages(child: HubChild, hub: FakeHub) -> None:
    found = search(child)
    assert [row[2] for row in found] == list(range(99, -1, -1))
    assert sum("/api/models?" in request for request in hub.requests) == 2


def test_no_more_is_asked_for_than_wanted(child: HubChild, hub: FakeHub) -> None:
    assert len(search(child, limit=7)) == 7
    assert sum("/api/models?" in request for request in hub.requests) == 1


def test_words_and_base_are_joined(child: HubChild, hub: FakeHub) -> None:
    found = search(child, "SQL")
    assert len(found) == 50
    assert all("/sql-" in row[0] for row in found)


def test_without_a_base_every_lora_is_looked_at(child: HubChild, hub: FakeHub) -> None:
    assert len(search(child, names=())) == 130


def test_one_name_that_fails_keeps_nothing_of_the_others(hub: FakeHub, child: HubChild) -> None:
    hub.weather.append(Weather("adapter%3Aunsloth", status=403, body=b"{}"))
    *rows, last = search(child, names=("unsloth/Llama-1B-Instruct", BASE))
    assert len(rows) == 100
    assert "403" in last


def test_a_repository_under_two_names_of_the_base_comes_once(child: HubChild, hub: FakeHub) -> None:
    tags = hub.facts["user3/sql-3"]["tags"]
    tags.append("base_model:adapter:unsloth/Llama-1B-Instruct")
    found = search(child, names=("unsloth/Llama-1B-Instruct", BASE))
    assert len(found) == len({row[0] for row in found}) == 100


@pytest.mark.parametrize(
    ("sort", "first"), [("likes", "user0/poet-0"), ("recent", "user59/sql-59")]
)
def test_the_order_is_the_hubs(child: HubChild, hub: FakeHub, sort: str, first: str) -> None:
    assert search(child, sort=sort)[0][0] == first


def test_a_private_one_needs_the_token(child: HubChild, hub: FakeHub) -> None:
    hub.private.add("user99/sql-99")
    assert len(search(child)) == 99
    assert len(search(child, token="hf_right")) == 100


def test_a_hub_that_asks_for_patience_is_asked_again(child: HubChild, hub: FakeHub) -> None:
    hub.weather.append(Weather("/api/models", 1, 429, {"Retry-After": "0"}))
    assert len(search(child)) == 100


def test_a_failure_that_passes_is_not_noticed(child: HubChild, hub: FakeHub) -> None:
    hub.weather.append(Weather("/api/models", 1, 500))
    assert len(search(child)) == 100


BAD_WEATHER = {
    "token": (Weather("/api/models", status=401, body=b"{}"), "refuses the token"),
    "html": (Weather("/api/models", body=b"<html>proxy</html>"), "no list"),
    "object": (Weather("/api/models", body=b'{"error": "x"}'), "no list"),
    "deep": (Weather("/api/models", body=b"[" * 200_000), "no list"),
    "html later": (Weather("cursor", body=b"<html>proxy</html>"), "no list"),
    "failure of nonsense": (Weather("/api/models", status=503, body=b"[]"), "503 and nonsense"),
    "cut refusal": (
        Weather("/api/models", status=403, body=b'{"error": "no"}', cut_after=3),
        "cannot be reached",
    ),
    "forbidden": (Weather("/api/models", status=403), "403"),
}


@pytest.mark.parametrize("name", BAD_WEATHER)
def test_bad_weather_is_one_sentence(child: HubChild, hub: FakeHub, name: str) -> None:
    weather, words = BAD_WEATHER[name]
    hub.weather.append(weather)
    *rows, last = search(child)
    assert last.startswith("refused: The Hugging Face Hub")
    assert words in last
    assert len(rows) == (50 if name == "html later" else 0)


ODD_ROWS: list[Any] = [
    {},
    {"id": None},
    {"id": "no-slash"},
    {"id": "a/.."},
    {"id": "a/b?c\x1b[2J"},
    {"id": 7},
    "text",
    None,
    {"id": "a/b", "siblings": "x", "downloads": "many", "lastModified": "soon", "cardData": []},
    {"id": "c/d", "siblings": [{}, None, {"rfilename": 3}], "downloads": -1, "tags": None},
    {"modelId": "e/f", "gated": "manual", "cardData": {"license": 3, "base_model": ["x/y", 4]}},
]


FIRST_HALF = "adapter_model-00001-of-00002.safetensors"
SECOND_HALF = "adapter_model-00002-of-00002.safetensors"


def test_an_answer_with_missing_fields_loses_nothing_else() -> None:
    found = list(repositories_of(ODD_ROWS))
    assert [repository.name for repository in found] == ["a/b", "c/d", "e/f"]
    assert {repository.downloads for repository in found} == {None}
    assert found[2].is_gated
    assert found[2].base_models == ("x/y",)
    assert list(repositories_of({"error": "x"})) == []


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], RepositoryKind.PEFT),
        (["sub/adapter_model.bin"], RepositoryKind.PEFT),
        (["adapter_config.json", "adapters.safetensors"], RepositoryKind.MLX),
        (["lora.gguf", "README.md"], RepositoryKind.GGUF),
        (["adapter_config.json", FIRST_HALF, SECOND_HALF], RepositoryKind.PEFT),
        (["adapter_config.json", FIRST_HALF], RepositoryKind.UNKNOWN),
        (["adapter_config.json", "0000200_adapters.safetensors"], RepositoryKind.MLX),
        (["params.json", "lora.safetensors"], RepositoryKind.PEFT),
        (["README.md"], RepositoryKind.UNKNOWN),
    ],
)
def test_the_kind_shows_in_the_names_of_files(files: list[str], kind: RepositoryKind) -> None:
    assert kind_of(files) is kind


def test_the_token_goes_to_the_hub_alone(child: HubChild, hub: FakeHub) -> None:
    with serving() as other:
        following = {"Link": f'<{other.url}/api/models?cursor=50>; rel="next"'}
        hub.weather.append(Weather("/api/models", headers=following))
        search(child, token=TOKEN)
        assert other.requests == ["GET /api/models?cursor=50"]
        assert (set(hub.tokens), other.tokens) == ({TOKEN}, [""])


def test_an_address_of_the_next_page_may_be_relative(child: HubChild, hub: FakeHub) -> None:
    following = {"Link": '</api/models?filter=lora&cursor=50>; rel="next"'}
    hub.weather.append(Weather("/api/models", 1, headers=following))
    assert len(search(child, names=())) == 130


def test_pages_without_end_come_to_one(child: HubChild, hub: FakeHub) -> None:
    following = {"Link": f'<{hub.url}/api/models?cursor=0>; rel="next"'}
    hub.weather.append(Weather("/api/models", headers=following, body=b"[]"))
    assert search(child) == []
    assert len(hub.requests) == 1


def test_nobody_waits_for_hours(child: HubChild, hub: FakeHub) -> None:
    patience = {"Retry-After": "3600"}
    hub.weather.append(Weather("/api/models", status=429, headers=patience, body=b"{}"))
    assert "too many requests" in search(child)[-1]
    assert len(hub.requests) == 1
