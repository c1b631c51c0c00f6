"""Pulling base models: told from adapters by their header, and kept under their reference."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engine.gguf.metadata import ValueType
from modelfiles.store.blobs import LINK_FROM_BYTES
from modelfiles.store.created import ModelStore
from tests.support import tiny_models
from tests.support.fake_hub import FakeHub, Weather
from tests.support.gguf_raw import RawGguf, RawValue
from tests.support.hub_child import HubChild
from tests.support.split_base import write_split

REPO = "hf.co/ann/tiny-GGUF"


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    child.hub.clear()
    base = tiny_models.write_base(tmp_path / "base.gguf")
    small = tiny_models.write_base(tmp_path / "q8.gguf", dtype="q8_0")
    child.hub.repos["ann/tiny-GGUF"] = {
        "tiny-Q4_K_M.gguf": base.read_bytes(),
        "tiny-Q8_0.gguf": small.read_bytes(),
    }
    return child.hub


def adapter_of(folder: Path) -> bytes:
    return tiny_models.write_adapter(folder / "lora.gguf", folder / "base.gguf").read_bytes()


def test_a_model_is_kept_under_its_reference(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    told = child.ask("model", reference=REPO)
    assert (told["name"], told["is_new"]) == ("hf.co/ann/tiny-GGUF:Q4_K_M", True)
    assert Path(told["base"]).read_bytes() == hub.repos["ann/tiny-GGUF"]["tiny-Q4_K_M.gguf"]
    assert child.ask("model", reference=f"{REPO}:q8_0")["name"] == "hf.co/ann/tiny-GGUF:Q8_0"
    names = [model.name for model in ModelStore(tmp_path / "home").list()]
    assert sorted(names) == ["hf.co/ann/tiny-GGUF:Q4_K_M", "hf.co/ann/tiny-GGUF:Q8_0"]


def test_a_large_model_is_on_the_disk_once(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    base = hub.repos["ann/tiny-GGUF"].pop("tiny-Q4_K_M.gguf")
    hub.repos["ann/tiny-GGUF"]["tiny-Q4_K_M.gguf"] = base.ljust(LINK_FROM_BYTES, b"\0")
    told = child.ask("model", reference=REPO)
    (cached,) = (tmp_path / "cache" / "hub").rglob("tiny-Q4_K_M.gguf")
    kept = Path(told["base"])
    # Where the file system can clone, it does: that is no second copy, but a file of its own.
    clone = ["cp", "--reflink=always", str(kept), str(tmp_path / "probe")]
    can_clone = subprocess.run(clone, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert kept.samefile(cached) or can_clone


def test_pulling_again_asks_only_which_revision_it_is(child: HubChild, hub: FakeHub) -> None:
    first = child.ask("model", reference=REPO)
    hub.requests.clear()
    again = child.ask("model", reference=REPO)
    assert again == {**first, "is_new": False}
    assert len(hub.requests) == 1


def test_a_new_revision_takes_the_place_of_the_old(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    child.ask("model", reference=REPO)
    newer = tiny_models.write_base(tmp_path / "newer.gguf", name="Newer").read_bytes()
    hub.repos["ann/tiny-GGUF"] = {"tiny-Q4_K_M.gguf": newer}
    hub.commits["ann/tiny-GGUF"] = "f" * 40
    told = child.ask("model", reference=REPO)
    assert told["is_new"]
    assert Path(told["base"]).read_bytes() == newer
    assert len(ModelStore(tmp_path / "home").list()) == 1


def test_a_split_model_is_pulled_whole(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    parts = write_split(tmp_path / "base.gguf", "part", 3)
    hub.repos["ann/tiny-GGUF"] = {
        f"big-Q8_0-{n:05}-of-{len(parts):05}.gguf": part.read_bytes()
        for n, part in enumerate(parts, 1)
    }
    told = child.ask("model", reference=REPO)
    assert told["name"] == "hf.co/ann/tiny-GGUF:Q8_0"
    (model,) = ModelStore(tmp_path / "home").list()
    assert model.size_bytes == sum(part.stat().st_size for part in parts)


def test_files_with_one_label_are_told_apart(child: HubChild, hub: FakeHub) -> None:
    files = hub.repos["ann/tiny-GGUF"]
    hub.repos["ann/tiny-GGUF"] = {
        "a-Q8_0.gguf": files["tiny-Q8_0.gguf"],
        "sub/b-Q8_0.gguf": files["tiny-Q4_K_M.gguf"],
    }
    told = child.ask("model", reference=f"{REPO}:sub/b-Q8_0.gguf")
    assert told["name"] == "hf.co/ann/tiny-GGUF:b-Q8_0"
    assert "fits 2 files" in child.ask("model", reference=f"{REPO}:Q8_0")["error"]


def test_what_it_is_is_told_without_the_vocabulary(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    path = tiny_models.write_base(tmp_path / "large.gguf", chat_template="long " * 100_000)
    hub.repos["ann/tiny-GGUF"] = {"large.gguf": path.read_bytes()}
    assert child.ask("model", reference=REPO)["is_new"]
    assert len([asked for asked in hub.ranges if asked]) == 1


def test_a_type_that_stands_late_is_found(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    raw = RawGguf.read(tmp_path / "base.gguf")
    kind = raw.metadata.pop("general.type")
    raw.metadata["tokenizer.chat_template"] = RawValue(ValueType.STRING, "long " * 100_000)
    raw.metadata["general.type"] = kind
    hub.repos["ann/tiny-GGUF"] = {"late.gguf": raw.write(tmp_path / "late.gguf").read_bytes()}
    assert child.ask("model", reference=REPO)["is_new"]
    assert len([asked for asked in hub.ranges if asked]) > 1


def test_an_adapter_is_no_model(child: HubChild, hub: FakeHub, tmp_path: Path) -> None:
    lora = adapter_of(tmp_path)
    hub.repos["ann/tiny-GGUF"] = {"lora.gguf": lora}
    assert child.ask("model", reference=REPO) == {"adapter": "lora.gguf"}
    hub.repos["ann/tiny-GGUF"] = {"lora-Q8_0.gguf": lora, "lora-F16.gguf": lora}
    assert child.ask("model", reference=f"{REPO}:F16") == {"adapter": "lora-F16.gguf"}
    assert "holds 2 adapters" in child.ask("model", reference=REPO)["error"]


def test_a_folder_beside_a_model_is_reached_by_its_name(child: HubChild, hub: FakeHub) -> None:
    hub.repos["ann/tiny-GGUF"] |= {"a/adapter_config.json": b"{}", "a/adapters.safetensors": b"x"}
    told = child.ask("model", reference=f"{REPO}:a")
    assert told == {"adapter": "a/adapters.safetensors"}
    assert child.ask("model", reference=REPO)["name"] == "hf.co/ann/tiny-GGUF:Q4_K_M"


REFUSED = {
    "no such quantisation": (f"{REPO}:Q2_K", 'has no "Q2_K"'),
    "no GGUF": ("hf.co/ann/weights", "holds no adapter"),
    "cut in the header": ("hf.co/ann/cut", "hf.co/ann/cut"),
    "no GGUF inside": ("hf.co/ann/html", "hf.co/ann/html:a.gguf"),
    "unknown": ("hf.co/ann/nothing", "does not exist or is private"),
    "names that lead elsewhere": ("hf.co/ann/escape", "holds no adapter"),
    "a name no model can have": ("hf.co/ann.lee/model", "cannot be the name of a model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pulled_is_one_sentence(
    child: HubChild, hub: FakeHub, tmp_path: Path, name: str
) -> None:
    base = hub.repos["ann/tiny-GGUF"]["tiny-Q4_K_M.gguf"]
    hub.repos |= {
        "ann/weights": {"model.safetensors": b"x"},
        "ann/cut": {"a.gguf": base[:2000]},
        "ann/html": {"a.gguf": b"<html>sign in</html>"},
        "ann/escape": {"../a-Q4_K_M.gguf": base, "..\\b.gguf": base, "/c.gguf": base},
        "ann.lee/model": {"a.gguf": base},
    }
    reference, words = REFUSED[name]
    error = child.ask("model", reference=reference)["error"]
    assert words in error
    assert "\n" not in error
    assert str(tmp_path) not in error
    assert ModelStore(tmp_path / "home").list() == []


@pytest.mark.parametrize("change", ["flipped", "short"])
def test_what_arrives_with_other_content_is_removed(
    child: HubChild, hub: FakeHub, tmp_path: Path, change: str
) -> None:
    base = hub.repos["ann/tiny-GGUF"]["tiny-Q4_K_M.gguf"]
    wrong = {"flipped": bytes([*base[:-1], base[-1] ^ 1]), "short": base[:-10]}[change]
    # The header is asked for first, and is right.
    hub.weather += [Weather("GET .*resolve", 1), Weather("(GET|HEAD) .*resolve", body=wrong)]
    assert REPO in child.ask("model", reference=REPO)["error"]
    assert not list((tmp_path / "cache" / "hub").rglob("*.gguf"))
    assert ModelStore(tmp_path / "home").list() == []
    hub.weather.clear()
    assert child.ask("model", reference=REPO)["is_new"]
