"""The model store: creating, listing, copying, removing and reading back models."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelfiles.errors import (
    ModelNameError,
    ModelNotFoundError,
    PackagedModelError,
    StoreError,
)
from modelfiles.language.modelfile import Modelfile, generated_text
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Kept, Message, Model
from modelfiles.parameters import Parameters
from modelfiles.references.resolve import resolve
from modelfiles.store.blobs import CopyProgress
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels
from tests.modelfiles.user_files import Folder


def a_model(folder: Folder, base: str = "base", adapter: str = "adapter") -> Model:
    return Model(
        name="",
        base=folder.gguf(f"{base}.gguf"),
        adapters=(AdapterSpec("a", folder.gguf(f"{adapter}.gguf"), 0.5),),
        parameters=Parameters(temperature=0.1, stop=("x",)),
        system="Be brief.",
        template="{{ .Prompt }}",
        messages=(Message("user", "hi"), Message("assistant", "hello")),
        licenses=("MIT",),
        kept=Kept(
            "r",
            "p",
            "0.14",
            (folder.gguf("draft.gguf"),),
        ),
    )


def blobs(home: Path) -> set[bytes]:
    return {path.read_bytes() for path in (home / "models" / "blobs").iterdir()}


def test_a_created_model_no_longer_depends_on_the_users_files(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    model = a_model(folder)
    contents = [model.base.read_bytes(), model.adapters[0].path.read_bytes()]
    listed = store.create("mine", model)
    for path in folder.path.iterdir():
        path.unlink()
    kept = store.get("mine")
    assert [kept.base.read_bytes(), kept.adapters[0].path.read_bytes()] == contents
    assert (kept.name, listed.name, listed.origin) == ("mine:latest", "mine:latest", "created")
    assert (listed.n_adapters, listed.problem) == (1, None)
    assert listed.size_bytes == sum(len(content) for content in blobs(home))
    for field in ("parameters", "system", "template", "messages", "licenses"):
        assert getattr(kept, field) == getattr(model, field)
    assert (kept.kept.renderer, kept.kept.parser, kept.kept.requires) == ("r", "p", "0.14")
    assert kept.kept.drafts[0].read_bytes() == b"GGUFdraft.gguf"


def test_editing_a_users_file_in_place_leaves_the_model_as_it_was(
    folder: Folder, store: ModelStore
) -> None:
    model = a_model(folder)
    store.create("mine", model)
    with model.adapters[0].path.open("r+b") as file:
        file.write(b"XXXX")
    assert store.get("mine").adapters[0].path.read_bytes() == b"GGUFadapter.gguf"


def test_the_id_follows_from_the_meaning_alone(folder: Folder, store: ModelStore) -> None:
    model = a_model(folder)
    first = store.create("one", model)
    again = store.create("two", model)
    assert first.digest == again.digest
    assert len(first.digest) == 12
    assert int(first.digest, 16) >= 0
    changed = Model(name="", base=model.base, system="Other.")
    assert store.create("three", changed).digest != first.digest
    assert {listed.digest for listed in store.list()} == {first.digest, store.list()[0].digest}


def test_models_share_their_blobs_and_removing_one_leaves_the_others(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    base = folder.gguf("base.gguf")
    for name in ("one", "two"):
        adapter = AdapterSpec("a", folder.gguf(f"{name}.gguf"))
        store.create(name, Model(name="", base=base, adapters=(adapter,)))
    assert blobs(home) == {b"GGUFbase.gguf", b"GGUFone.gguf", b"GGUFtwo.gguf"}
    store.remove("one")
    assert blobs(home) == {b"GGUFbase.gguf", b"GGUFtwo.gguf"}
    assert store.get("two").adapters[0].path.read_bytes() == b"GGUFtwo.gguf"
    store.remove("two")
    assert blobs(home) == set()
    assert store.list() == []
    assert list((home / "models" / "manifests").iterdir()) == []


def test_creating_again_replaces_the_model_and_its_unused_blobs(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    store.create("mine", Model(name="", base=folder.gguf("old.gguf")))
    store.create("MINE", Model(name="", base=folder.gguf("new.gguf")))
    assert [listed.name for listed in store.list()] == ["mine:latest"]
    assert blobs(home) == {b"GGUFnew.gguf"}


def test_a_copy_is_a_second_name_for_the_same_blobs(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    created = store.create("mine", a_model(folder))
    n_blobs = len(blobs(home))
    store.copy("mine", "someone/yours:v2")
    assert len(blobs(home)) == n_blobs
    store.remove("mine")
    listed = store.list()[0]
    assert (listed.name, listed.digest) == ("someone/yours:v2", created.digest)
    assert store.get("someone/yours:v2").base.read_bytes() == b"GGUFbase.gguf"


def test_copying_needs_two_names_of_which_the_first_exists(
    folder: Folder, store: ModelStore
) -> None:
    store.create("mine", a_model(folder))
    with pytest.raises(StoreError, match="cannot copy mine:latest to itself"):
        store.copy("mine", "Mine:latest")
    with pytest.raises(ModelNotFoundError, match=r"'mini:latest' not found .*\"mine\""):
        store.copy("mini", "other")
    with pytest.raises(ModelNameError):
        store.copy("mine", "../evil")
    assert [listed.name for listed in store.list()] == ["mine:latest"]


@pytest.mark.parametrize("name", ["../evil", "a/../../b", "..", "a b", ""])
def test_a_bad_name_creates_nothing_at_all(
    name: str, folder: Folder, store: ModelStore, home: Path
) -> None:
    with pytest.raises(ModelNameError):
        store.create(name, a_model(folder))
    with pytest.raises(ModelNameError):
        store.remove(name)
    assert not home.exists()


def test_a_missing_file_creates_nothing(folder: Folder, store: ModelStore, home: Path) -> None:
    model = a_model(folder)
    model.adapters[0].path.unlink()
    with pytest.raises(StoreError, match=r"cannot create mine:latest: No such file .*adapter.gguf"):
        store.create("mine", model)
    assert store.list() == []
    assert list((home / "models" / "staging").iterdir()) == []


def test_a_failing_progress_callback_creates_nothing(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    def stop(progress: CopyProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.create("mine", a_model(folder), stop)
    assert store.list() == []
    assert blobs(home) == set()
    assert list((home / "models" / "staging").iterdir()) == []


def test_removing_what_is_not_there_names_the_nearest(folder: Folder, store: ModelStore) -> None:
    store.create("mine", a_model(folder))
    with pytest.raises(ModelNotFoundError, match=r"model 'mime:latest' not found \(did you mean"):
        store.remove("mime")
    with pytest.raises(ModelNotFoundError, match=r"model 'zebra:latest' not found$"):
        store.get("zebra")


def test_the_newest_model_comes_first(folder: Folder, store: ModelStore, home: Path) -> None:
    for age, name in enumerate(["old", "older", "oldest"]):
        store.create(name, a_model(folder))
        path = home / "models" / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    names = [listed.name for listed in store.list()]
    assert names == ["old:latest", "older:latest", "oldest:latest"]
    assert store.list()[0].modified.isoformat() == "2023-11-14T22:13:20+00:00"


def test_progress_counts_every_byte_of_every_file(folder: Folder, store: ModelStore) -> None:
    size_bytes = 5 * 2**19
    base = folder.gguf("base.gguf", "x" * size_bytes)
    adapter = folder.gguf("adapter.gguf", "y" * size_bytes)
    seen: list[CopyProgress] = []
    store.create("mine", Model("", base, (AdapterSpec("a", adapter),)), seen.append)
    total_bytes = 2 * (size_bytes + 4)
    assert {progress.total_bytes for progress in seen} == {total_bytes}
    done = [progress.done_bytes for progress in seen]
    assert done == sorted(done)
    assert done[-1] == total_bytes
    assert [p.source for p in seen] == [base] * 3 + [adapter] * 3


def test_the_home_is_private(folder: Folder, store: ModelStore, home: Path) -> None:
    store.create("mine", a_model(folder))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_lost_or_changed_blob_is_noticed_and_creating_again_repairs_it(
    folder: Folder, store: ModelStore
) -> None:
    model = a_model(folder)
    store.create("mine", model)
    path = store.get("mine").adapters[0].path
    path.chmod(0o644)
    for spoil in (path.unlink, lambda: path.write_bytes(b"short")):
        spoil()
        with pytest.raises(StoreError) as raised:
            store.get("mine")
        assert "model mine:latest is damaged: the file of its adapter a" in str(raised.value)
        store.create("mine", model)
        assert store.get("mine").adapters[0].path.read_bytes() == b"GGUFadapter.gguf"
        path.chmod(0o644)


def test_a_blob_changed_at_its_old_size_is_noticed(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    store.create("mine", a_model(folder))
    path = store.get("mine").base
    manifest = home / "models" / "manifests" / "registry.ollama.ai" / "library" / "mine" / "latest"
    after = manifest.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(after, after))
    assert store.get("mine").base == path, "a file that was only touched is as good as before"
    path.chmod(0o644)
    path.write_bytes(b"XXXXbase.gguf")
    os.utime(path, ns=(after, after))
    with pytest.raises(StoreError, match="the file of its base"):
        store.get("mine")


def test_a_manifest_that_cannot_be_read_hides_nothing_and_loses_nothing(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    store.create("good", a_model(folder))
    store.create("bad", Model("", folder.gguf("other.gguf")))
    models = home / "models" / "manifests" / "registry.ollama.ai" / "library"
    n_blobs = len(blobs(home))
    for text, reason in [
        ("{", "has a manifest that cannot be read"),
        ('{"version": 2}', "was written by a newer version of this program"),
        ('{"version": 1, "base": {"digest": "sha256:../../x", "size_bytes": 1}}', "cannot be read"),
    ]:
        (models / "bad" / "latest").write_text(text)
        by_name = {listed.name: listed for listed in store.list()}
        assert by_name["good:latest"].problem is None
        assert reason in str(by_name["bad:latest"].problem)
        with pytest.raises(StoreError, match=reason):
            store.get("bad")
    store.create("third", a_model(folder))
    assert len(blobs(home)) == n_blobs, "blobs of an unreadable manifest must stay"
    store.remove("bad")
    assert b"GGUFother.gguf" not in blobs(home)


def test_foreign_files_in_the_store_are_no_models(
    folder: Folder, store: ModelStore, home: Path
) -> None:
    store.create("mine", a_model(folder))
    models = home / "models"
    (models / "manifests" / ".DS_Store").write_text("")
    (models / "manifests" / "registry.ollama.ai" / "library" / "mine" / ".swp").write_text("")
    (models / "blobs" / "README").write_text("keep")
    (models / "staging" / "note").write_text("keep")
    assert [listed.name for listed in store.list()] == ["mine:latest"]
    store.remove("mine")
    assert blobs(home) == {b"keep"}


def test_a_manifest_written_by_hand_cannot_lead_out_of_the_blobs(
    store: ModelStore, home: Path
) -> None:
    path = home / "models" / "manifests" / "registry.ollama.ai" / "library" / "evil" / "latest"
    path.parent.mkdir(parents=True)
    path.write_text('{"version":1,"base":{"digest":"sha256:/etc/passwd","size_bytes":1}}')
    with pytest.raises(StoreError, match="cannot be read"):
        store.get("evil")


def test_the_packaged_model_is_listed_shown_and_copied_but_not_removed(
    store: ModelStore, library: Library
) -> None:
    (listed,) = library.list()
    assert (listed.name, listed.origin, listed.n_adapters) == ("demo:latest", "package", 1)
    assert library.get("demo").adapters[0].scale == 0.0
    assert library.get("Demo:latest").system == "Be brief."
    with pytest.raises(PackagedModelError, match="demo:latest comes with the program"):
        store.remove("demo")
    with pytest.raises(ModelNotFoundError):
        library.get("demo:v2")
    store.copy("demo", "mine")
    (copied,) = store.list()
    assert (copied.name, copied.digest) == ("mine:latest", listed.digest)
    assert copied.size_bytes == listed.size_bytes


def test_a_created_demo_stands_in_place_of_the_packaged_one_until_removed(
    folder: Folder, store: ModelStore, library: Library
) -> None:
    store.create("demo", a_model(folder))
    assert [listed.origin for listed in library.list()] == ["created"]
    assert library.get("demo").adapters[0].name == "a"
    store.remove("demo")
    assert [listed.origin for listed in library.list()] == ["package"]
    assert library.get("demo").adapters[0].name == "pirate"


def test_a_damaged_package_is_listed_with_its_problem(
    library: Library, package: PackagedModels
) -> None:
    (package.folders["demo"] / "base.gguf").unlink()
    (listed,) = library.list()
    assert "base.gguf: there is no such file" in str(listed.problem)


def test_the_text_of_a_model_creates_it_again(
    folder: Folder, store: ModelStore, library: Library, tmp_path: Path
) -> None:
    created = store.create("mine", a_model(folder))
    text = generated_text(library.get("mine"))
    again = resolve(Modelfile.from_text(text), tmp_path, library, "again")
    assert store.create("again", again).digest == created.digest
    packaged = Modelfile.from_text(generated_text(library.get("demo")))
    copy = resolve(packaged, tmp_path, library, "copy")
    demo = next(listed for listed in library.list() if listed.origin == "package")
    assert store.create("copy", copy).digest == demo.digest


def test_a_library_without_a_home_knows_the_package(home: Path, library: Library) -> None:
    assert [listed.name for listed in library.list()] == ["demo:latest"]
    with pytest.raises(ModelNotFoundError, match=r"did you mean \"demo\""):
        library.get("dem")
    assert not home.exists(), "reading must not create anything"


def test_a_home_that_is_a_file_is_one_sentence(
    folder: Folder, home: Path, package: PackagedModels
) -> None:
    home.write_text("")
    with pytest.raises(StoreError, match="cannot create mine:latest: "):
        ModelStore(home, package).create("mine", a_model(folder))
