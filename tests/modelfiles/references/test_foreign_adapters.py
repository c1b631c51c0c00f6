"""ADAPTER lines that name an adapter of PEFT or MLX: what is converted, and what it is called."""

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


class Converter:
    """Stands for the conversion: one GGUF for each folder."""

    def __init__(self, folder: Folder) -> None:
        self.asked: list[tuple[Path, Path]] = []
        self.reason = ""
        self._folder = folder

    def __call__(self, source: Path, base: Path) -> Path:
        self.asked.append((source, base))
        if self.reason:
            raise ReferenceNotFoundError(self.reason)
        return self._folder.gguf(f"cache/{len(self.asked)}.gguf")


@pytest.fixture
def converter(folder: Folder) -> Converter:
    return Converter(folder)


def peft(folder: Folder, name: str, weights: str = "adapter_model.safetensors") -> Path:
    path = folder.path / name
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text("{}")
    (path / weights).write_bytes(b"\x10\0\0\0\0\0\0\0")
    return path


def adapters(
    text: str, folder: Folder, library: Library, converter: Converter
) -> tuple[AdapterSpec, ...]:
    folder.gguf("base.gguf")
    modelfile = Modelfile.from_text(f"FROM ./base.gguf\n{text}")
    return resolve(modelfile, folder.path, library, "mine", convert=converter).adapters


@pytest.mark.parametrize(
    "weights", ["adapter_model.safetensors", "adapter_model.bin", "adapters.npz"]
)
def test_a_folder_is_converted_for_the_base_and_called_after(
    folder: Folder, library: Library, converter: Converter, weights: str
) -> None:
    source = peft(folder, "My style v1.5", weights)
    (spec,) = adapters("ADAPTER ./My style v1.5 scale=0.5", folder, library, converter)
    assert spec == AdapterSpec("My-style-v1.5", folder.path / "cache/1.gguf", 0.5)
    assert converter.asked == [(source, folder.path / "base.gguf")]


def test_the_weights_alone_may_be_named(
    folder: Folder, library: Library, converter: Converter
) -> None:
    peft(folder, "style")
    text = "ADAPTER style/adapter_model.safetensors\nADAPTER ./style name=again"
    specs = adapters(text, folder, library, converter)
    assert [spec.name for spec in specs] == ["style", "again"]


def test_the_base_is_that_of_the_model_that_from_names(
    folder: Folder, library: Library, converter: Converter
) -> None:
    source = peft(folder, "style")
    model = resolve(
        Modelfile.from_text("FROM demo\nADAPTER ./style"),
        folder.path,
        library,
        "mine",
        convert=converter,
    )
    assert converter.asked == [(source, library.get("demo").base)]
    assert model.adapters[-1].name == "style"


def test_a_folder_with_a_gguf_keeps_its_meaning(
    folder: Folder, library: Library, converter: Converter
) -> None:
    peft(folder, "style")
    path = folder.gguf("style/ready.gguf")
    (spec,) = adapters("ADAPTER ./style", folder, library, converter)
    assert spec == AdapterSpec("ready", path)
    assert converter.asked == []


def test_a_gguf_file_is_one_whatever_its_name(
    folder: Folder, library: Library, converter: Converter
) -> None:
    path = folder.gguf("style.bin")
    assert adapters("ADAPTER style.bin", folder, library, converter)[0].path == path
    assert converter.asked == []


def test_what_cannot_be_converted_is_said_with_its_line(
    folder: Folder, library: Library, converter: Converter
) -> None:
    peft(folder, "style")
    converter.reason = "The adapter is of another kind: use another."
    with pytest.raises(ReferenceNotFoundError) as raised:
        adapters("ADAPTER ./style", folder, library, converter)
    assert str(raised.value) == f"(line 2): ADAPTER ./style: {converter.reason}"


def test_a_folder_without_an_adapter_is_refused(
    folder: Folder, library: Library, converter: Converter
) -> None:
    (folder.path / "notes").mkdir()
    (folder.path / "notes" / "README.md").touch()
    with pytest.raises(ModelfileError, match="holds no GGUF file"):
        adapters("ADAPTER ./notes", folder, library, converter)
    assert converter.asked == []


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
        gguf_at(tmp_path / "pipe.gguf", "FROM x")
