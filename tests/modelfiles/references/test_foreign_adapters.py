"""Adapters of PEFT and MLX are told from GGUF files, also where nothing converts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelfiles.errors import ModelfileError, ReferenceNotFoundError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import Library
from modelfiles.model import AdapterSpec
from modelfiles.references.files import gguf_at, is_foreign_adapter
from modelfiles.references.resolve import resolve
from tests.modelfiles.user_files import Folder


def peft(folder: Folder, name: str, weights: str = "adapter_model.safetensors") -> Path:
    path = folder.path / name
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text("{}")
    (path / weights).write_bytes(b"\x10\0\0\0\0\0\0\0")
    return path


def adapters(text: str, folder: Folder, library: Library) -> tuple[AdapterSpec, ...]:
    folder.gguf("base.gguf")
    modelfile = Modelfile.from_text(f"FROM ./base.gguf\n{text}")
    return resolve(modelfile, folder.path, library, "mine").adapters


@pytest.mark.parametrize(
    "weights", ["adapter_model.safetensors", "adapter_model.bin", "adapters.npz"]
)
def test_the_folder_of_another_program_is_one_whatever_its_weights(
    folder: Folder, weights: str
) -> None:
    assert is_foreign_adapter(peft(folder, "style", weights))
    assert is_foreign_adapter(folder.path / "style" / weights)


def test_the_lookup_gets_the_reference_the_folder_and_the_base(
    folder: Folder, library: Library
) -> None:
    asked: list[tuple[str, Path, Path]] = []

    def find(reference: str, place: Path, base: Path) -> AdapterSpec:
        asked.append((reference, place, base))
        return AdapterSpec("found", folder.path / "found.gguf")

    text = "FROM demo\nADAPTER ./style 0.5\nADAPTER sql name=mine"
    model = resolve(Modelfile.from_text(text), folder.path, library, "mine", adapters=find)
    base = library.get("demo").base
    assert asked == [("./style", folder.path, base), ("sql", folder.path, base)]
    named = [(spec.name, spec.scale) for spec in model.adapters[1:]]
    assert named == [("found", 0.5), ("mine", 1.0)]


def test_a_folder_with_a_gguf_keeps_its_meaning(folder: Folder, library: Library) -> None:
    peft(folder, "style")
    path = folder.gguf("style/ready.gguf")
    assert adapters("ADAPTER ./style", folder, library) == (AdapterSpec("ready", path),)


def test_a_gguf_file_is_one_whatever_its_name(folder: Folder, library: Library) -> None:
    path = folder.gguf("style.bin")
    assert adapters("ADAPTER style.bin", folder, library)[0].path == path


def test_a_folder_without_an_adapter_is_refused(folder: Folder, library: Library) -> None:
    (folder.path / "notes").mkdir()
    (folder.path / "notes" / "README.md").touch()
    with pytest.raises(ModelfileError, match=r"holds no GGUF file .* a pulled adapter"):
        adapters("ADAPTER ./notes", folder, library)


def test_an_adapter_is_no_base(folder: Folder, library: Library) -> None:
    peft(folder, "style")
    for reference in ("./style", "style/adapter_model.safetensors"):
        with pytest.raises(ModelfileError, match="an adapter of PEFT or MLX, not a model"):
            resolve(Modelfile.from_text(f"FROM {reference}"), folder.path, library, "mine")


def test_checkpoints_count_and_what_is_not_there_does_not(folder: Folder) -> None:
    peft(folder, "run/checkpoint-500")
    assert is_foreign_adapter(folder.path / "run")
    assert is_foreign_adapter(folder.path / "run/checkpoint-500/adapter_config.json")
    assert not is_foreign_adapter(folder.path / "absent")
    assert not is_foreign_adapter(folder.path / "absent.safetensors")
    assert not is_foreign_adapter(folder.path / "a\0b.bin")


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe.safetensors", "pipe.gguf"):
        os.mkfifo(tmp_path / name)
        assert not is_foreign_adapter(tmp_path / name)
    with pytest.raises(ReferenceNotFoundError, match=r"cannot read .*: it is no regular file"):
        gguf_at(tmp_path / "pipe.gguf")
