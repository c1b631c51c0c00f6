"""Models split over several files: named by their first part, kept whole, found by llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.errors import ModelfileError, ReferenceNotFoundError, StoreError
from modelfiles.language.modelfile import Modelfile
from modelfiles.model import Model
from modelfiles.references.resolve import resolve
from modelfiles.references.split_files import shards_of
from modelfiles.store.created import ModelStore
from tests.modelfiles.user_files import Folder

N_PARTS = 3


@pytest.fixture
def parts(folder: Folder) -> list[Path]:
    return [folder.gguf(f"split/m-{n:05d}-of-{N_PARTS:05d}.gguf") for n in range(1, N_PARTS + 1)]


def resolved(text: str, folder: Folder) -> Model:
    return resolve(Modelfile.from_text(text), folder.path, None, "mine")


def refused(text: str, folder: Folder) -> str:
    with pytest.raises((ModelfileError, ReferenceNotFoundError)) as raised:
        resolved(text, folder)
    return str(raised.value)


def contents(model: Model) -> list[bytes]:
    return [path.read_bytes() for path in shards_of(model.base)]


def test_the_parts_follow_from_the_name_of_any_of_them(parts: list[Path]) -> None:
    for part in parts:
        assert shards_of(part) == tuple(parts)
    for name in ("m.gguf", "m-00001-of-00001.gguf", "m-1-of-3.gguf", "m-00001-of-99999.gguf"):
        assert shards_of(Path(name)) == (Path(name),)


def test_from_names_the_first_part_or_the_folder(folder: Folder, parts: list[Path]) -> None:
    told: list[str] = []
    modelfile = Modelfile.from_text(f"FROM ./split/{parts[0].name}")
    assert resolve(modelfile, folder.path, None, "mine", on_choice=told.append).base == parts[0]
    assert told == [f"(line 1): FROM ./split/{parts[0].name} is the file {parts[0]}, in 3 parts"]
    assert resolved("FROM ./split", folder).base == parts[0]
    folder.gguf("split/other.gguf")
    assert "holds 2 GGUF files; name one of them" in refused("FROM ./split", folder)


def test_another_part_and_missing_parts_are_refused(folder: Folder, parts: list[Path]) -> None:
    message = refused(f"FROM ./split/{parts[1].name}", folder)
    assert message.endswith(f"is not the first part of its split model; name {parts[0].name}")
    parts[2].unlink()
    message = refused(f"FROM ./split/{parts[0].name}", folder)
    assert f"of the 3 parts of the split model 1 are missing in {parts[0].parent}" in message
    assert message.endswith(f"{parts[2].name} first")


def test_a_created_model_keeps_all_parts_under_names_that_belong_together(
    folder: Folder, parts: list[Path], store: ModelStore
) -> None:
    model = resolved("FROM ./split", folder)
    before = contents(model)
    listed = store.create("mine", model)
    for part in parts:
        part.unlink()
    kept = store.get("mine")
    assert contents(kept) == before
    assert [path.name[-20:] for path in shards_of(kept.base)] == [p.name[-20:] for p in parts]
    assert listed.size_bytes == sum(map(len, before))
    # It can be built upon and copied, and its own Modelfile leads to it again.
    store.create("other", resolved(f"FROM {kept.base}\nSYSTEM x\n", folder))
    store.copy("mine", "copy")
    assert [contents(store.get(name)) for name in ("other", "copy")] == [before, before]
    assert store.get("other").base == kept.base


def test_the_links_go_with_the_last_model_that_needs_them(
    folder: Folder, parts: list[Path], store: ModelStore, home: Path
) -> None:
    store.create("one", resolved("FROM ./split", folder))
    store.copy("one", "two")
    store.remove("one")
    assert len(contents(store.get("two"))) == N_PARTS
    store.remove("two")
    assert list((home / "models").rglob("*.gguf")) == []
    assert list((home / "models" / "blobs").iterdir()) == []


def test_lost_links_and_lost_parts_are_said(
    folder: Folder, parts: list[Path], store: ModelStore, home: Path
) -> None:
    store.create("mine", resolved("FROM ./split", folder))
    shards_of(store.get("mine").base)[1].unlink()
    with pytest.raises(StoreError, match="the links to the parts of its base"):
        store.get("mine")
    store.create("mine", resolved("FROM ./split", folder))
    assert len(contents(store.get("mine"))) == N_PARTS
    next((home / "models" / "blobs").iterdir()).unlink()
    with pytest.raises(StoreError, match=r"the file of its base is missing or has changed"):
        store.get("mine")
