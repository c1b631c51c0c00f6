"""Where a pulled adapter is used: by its name, in lists, until it is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.hub_child import HubChild
from tests.support.small_hub import LORA, fill_hub


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    fill_hub(child.hub, tmp_path)
    return child.hub


def test_pulled_adapters_are_named_where_paths_are(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    for reference in (LORA, "hf.co/ann/peft-lora", "hf.co/ann/tiny-GGUF"):
        assert child.tui("pull", reference).code == 0
    text = "FROM hf.co/ann/tiny-GGUF\nADAPTER pirate-lora scale=0.5\nADAPTER peft-lora\n"
    created = child.tui("create", "mine", "-f", "-", stdin=text)
    assert created.code == 0, created.err
    document = json.loads(child.tui("show", "mine", "--json").out)
    stack = [(adapter["name"], adapter["scale"]) for adapter in document["adapters"]]
    assert stack == [("pirate-lora", 0.5), ("peft-lora", 1.0)]
    hub.requests.clear()
    fused = child.tui(
        *("fuse", "--base", "base.gguf", "--lora", "pirate-lora", "--lora", "peft-lora"),
        *("-o", "out.gguf"),
    )
    assert fused.code == 0, fused.err
    assert hub.requests == []
    inspected = child.tui("inspect", "peft-lora", "--base", "base.gguf")
    assert inspected.code == 0, inspected.err
    # A path that exists wins.
    (tmp_path / "pirate-lora").write_bytes(b"GGUF, and nothing else")
    refused = child.tui("create", "other", "-f", "-", stdin="FROM mine\nADAPTER pirate-lora")
    assert refused.code == 1


def test_a_reference_is_pulled_where_it_is_used(child: HubChild, hub: FakeHub) -> None:
    text = "FROM ./base.gguf\nADAPTER hf.co/ann/peft-lora name=sql\n"
    created = child.tui("create", "mine", "-f", "-", stdin=text)
    assert created.code == 0, created.err
    fused = child.tui("fuse", "mine", "--lora", LORA, "-o", "out.gguf")
    assert fused.code == 0, fused.err
    assert sorted(record["name"] for record in child.pulled()) == ["peft-lora", "pirate-lora"]


def test_an_adapter_of_the_hub_is_converted(child: HubChild, hub: FakeHub) -> None:
    for reference in ("hf.co/ann/peft-lora", "peft-lora"):
        arguments = ("convert", reference, "--base", "base.gguf", "--json", "--force")
        ended = child.tui(*arguments)
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["path"].endswith("/peft-lora.gguf")
    refused = child.tui("convert", LORA, "--base", "base.gguf")
    assert refused.code == 1
    assert "is GGUF already and needs no conversion" in refused.err


def test_a_base_of_the_hub_is_downloaded(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    child.tui("pull", LORA)
    base = "hf.co/ann/tiny-GGUF"
    fused = child.tui("fuse", "--lora", "pirate-lora", "--base", base, "-o", "out.gguf")
    assert fused.code == 0, fused.err
    inspected = child.tui("inspect", "pirate-lora", "--base", base, "--json")
    assert json.loads(inspected.out)["adapters"][0]["fits"] is True


def test_an_unknown_name_is_said_to_be_neither(child: HubChild, hub: FakeHub) -> None:
    ended = child.tui("fuse", "demo", "--lora", "pirat-lora", "-o", "out.gguf")
    assert ended.code == 1
    assert 'There is no adapter "pirat-lora"' in ended.err
    assert "nor pulled ('tui list --adapters')" in ended.err
    ended = child.tui("rm", "pirat-lora")
    assert ended.code == 1
    assert "not found; neither is a pulled adapter of that name" in ended.err
    ended = child.tui("fuse", "demo", "--lora", "hf.co/ann", "-o", "out.gguf")
    assert ended.code == 1
    assert "is no repository of the Hugging Face Hub" in ended.err


def test_an_adapter_in_the_place_of_a_model_is_said_to_be_one(
    child: HubChild, hub: FakeHub
) -> None:
    child.tui("pull", LORA)
    for name in ("pirate-lora", LORA):
        ended = child.tui("run", name, "hi")
        assert ended.code == 1
        assert f"{name} is a pulled adapter, not a model" in ended.err
        assert "tui run NAME --lora pirate-lora" in ended.err


def test_the_list_tells_what_is_there(child: HubChild, hub: FakeHub) -> None:
    ended = child.tui("list", "--adapters")
    assert ended.code == 0
    assert ended.out.split() == [
        *("NAME", "KIND", "SIZE", "PULLED", "REVISION", "REFERENCE", "BASE"),
    ]
    assert ended.err.startswith("Note: No adapters were pulled: 'tui search' finds some")
    assert child.pulled() == []
    hub.facts["ann/pirate-lora"] = {"cardData": {"base_model": "meta/Llama\x1b[31m"}}
    child.tui("pull", LORA)
    child.tui("pull", "hf.co/ann/peft-lora")
    lines = child.tui("ls", "--adapters", "PI").out.splitlines()
    assert len(lines) == 2
    assert lines[1].split()[:2] == ["pirate-lora", "GGUF"]
    assert lines[1].endswith(f"{COMMIT[:7]}     {LORA}:lora.gguf    meta/Llama[31m")
    record = child.pulled()[1]
    assert (record["name"], record["kind"], record["is_there"]) == ("pirate-lora", "gguf", True)
    Path(record["path"]).unlink()
    assert child.tui("list", "--adapters", "pi").out.splitlines()[1].split()[2] == "gone"
    assert child.tui("list", "--adapters", "x").err.startswith("Note: No pulled adapter has")


def test_an_adapter_whose_file_is_gone_is_fetched_again(child: HubChild, hub: FakeHub) -> None:
    child.tui("pull", LORA)
    path = Path(child.pulled()[0]["path"])
    path.resolve().unlink()
    path.unlink()
    fused = child.tui("fuse", "demo", "--lora", "pirate-lora", "-o", "out.gguf")
    assert "pirate-lora" in fused.err  # it is for another base than the demo's
    assert path.is_file()


def test_a_removed_adapter_leaves_its_file_unless_that_is_wished(
    child: HubChild, hub: FakeHub
) -> None:
    child.tui("pull", LORA)
    path = Path(child.pulled()[0]["path"])
    ended = child.tui("rm", "Pirate-Lora")
    assert (ended.code, ended.out) == (0, "deleted the pulled adapter 'pirate-lora'\n")
    assert "Its file stays in the Hub's cache" in ended.err
    assert path.is_file()
    child.tui("pull", LORA)
    content = path.resolve()
    ended = child.tui("rm", "pirate-lora", "--files")
    assert ended.code == 0
    assert ended.out.endswith(f"removed {path}\n")
    assert not path.exists()
    assert not content.exists()
    assert child.pulled() == []
    assert child.tui("rm", "pirate-lora").code == 1


def test_files_that_others_use_stay(child: HubChild, hub: FakeHub) -> None:
    hub.repos["ann/two"] = {
        "a.gguf": hub.repos["ann/pirate-lora"]["lora.gguf"],
        "b.gguf": hub.repos["ann/qwen-lora"]["lora.gguf"],
    }
    child.tui("pull", "hf.co/ann/two:a")
    child.tui("pull", "hf.co/ann/two:b.gguf")
    paths = {record["name"]: Path(record["path"]) for record in child.pulled()}
    assert child.tui("rm", "b", "--files").code == 0
    assert [name for name, path in paths.items() if path.is_file()] == ["a"]
    # The same content in another revision is one file in the cache.
    path = paths["a"]
    hub.commits["ann/two"] = "f" * 40
    child.tui("pull", "hf.co/ann/two:a.gguf")
    newer = Path(child.pulled()[0]["path"])
    assert newer != path
    assert child.tui("rm", "a", "--files").code == 0
    assert not newer.exists()
    assert path.is_file()


def test_all_that_are_named_go_with_their_files(child: HubChild, hub: FakeHub) -> None:
    data = hub.repos["ann/pirate-lora"]["lora.gguf"]
    hub.repos["ann/two"] = {"a.gguf": data, "b.gguf": data}
    child.tui("pull", "hf.co/ann/two:a")
    child.tui("pull", "hf.co/ann/two:b")
    paths = [Path(record["path"]) for record in child.pulled()]
    ended = child.tui("rm", "a", "b", "--files")
    assert (ended.code, ended.err) == (0, "")
    assert not any(path.exists() for path in paths)


def test_a_model_goes_before_an_adapter_of_its_name(child: HubChild, hub: FakeHub) -> None:
    child.tui("pull", LORA)
    child.tui("create", "pirate-lora", "-f", "-", stdin="FROM ./base.gguf\n")
    wrong = child.tui("rm", "pirate-lora", "--files")
    assert wrong.code == 2
    assert child.tui("rm", "pirate-lora").out == "deleted 'pirate-lora'\n"
    assert [record["name"] for record in child.pulled()] == ["pirate-lora"]
    # If one of the names is unknown, nothing is deleted.
    assert child.tui("rm", "pirate-lora", "nothing").code == 1
    assert len(child.pulled()) == 1


def test_a_script_finds_and_pulls(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    hub.facts["ann/pirate-lora"] = {"tags": ["base_model:adapter:unsloth/Llama-1B"]}
    names, name, path = child.ask(
        "library", query="", base="meta-llama/Llama-1B-Instruct", reference=LORA
    )
    assert (names, name) == (["ann/pirate-lora"], "pirate-lora")
    assert Path(path).is_file()
    assert [record["name"] for record in child.pulled()] == ["pirate-lora"]
