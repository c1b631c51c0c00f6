"""Every face that takes a reference to an adapter means the same adapter by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.api import Base, open_base
from engine.errors import EngineError
from engine.protocol.settings import EngineSettings
from engine.resolve.hub_adapter import named_adapter
from engine.resolve.reference import find_adapter
from engine.resolve.watch import Watch
from engine.stack import AdapterStack
from modelfiles.errors import ModelfilesError
from modelfiles.language.modelfile import Modelfile
from modelfiles.parameters import Parameters
from modelfiles.references.resolve import resolve
from modelfiles.store.created import ModelStore
from tests.support.named_adapters import NAME, Shelf, shelf_in
from tui.cli import main
from tui.commands.hub.push import publication_of
from tui.commands.lora_options import LoraOption, with_loras

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = shelf_in(tmp_path)
    monkeypatch.setenv("LORA_TUI_HOME", str(shelf.home))
    monkeypatch.chdir(tmp_path)
    ModelStore(shelf.home).create("mine", shelf.model)
    return shelf


@pytest.fixture
def base(shelf: Shelf) -> Iterator[Base]:
    parameters = Parameters(num_thread=1, num_ctx=64)
    settings = EngineSettings(cache_folder=str(shelf.home / "cache"))
    with open_base(shelf.base, parameters, settings) as base:
        yield base


@dataclass(frozen=True, slots=True)
class Faces:
    """The digest of the GGUF file that each face takes a reference for."""

    shelf: Shelf
    base: Base
    capture: Capture

    def fuse(self, reference: str) -> str:
        out, base = str(self.shelf.folder / "fused.gguf"), str(self.shelf.base)
        arguments = ["--lora", reference, "--base", base, "-o", out, "--force", "--json"]
        assert main(["fuse", *arguments]) == 0
        return _digest(json.loads(self.capture.readouterr().out)["stack"][0]["path"])

    def adapter_line(self, reference: str) -> str:
        modelfile = Modelfile.from_text(f'FROM {self.shelf.base}\nADAPTER "{reference}"')
        model = resolve(modelfile, self.shelf.folder, None, "x", adapters=find_adapter)
        return _digest(model.adapters[0].path)

    def dialog(self, reference: str) -> str:
        base, home = self.shelf.base, self.shelf.home
        return named_adapter(reference, AdapterStack(), base, home, Watch()).entry.adapter.sha256

    def library(self, reference: str) -> str:
        return self.base.set_stack([(reference, 1.0)]).entries[0].adapter.sha256

    def inspect(self, reference: str) -> str:
        return self._inspected(reference, str(self.shelf.base))

    def push(self, reference: str) -> str:
        return publication_of(reference, None, None).files[0].sha256

    def lora_of_model(self, reference: str) -> str:
        model = with_loras(self.shelf.model, [LoraOption(reference, 0.7)])
        return next(_digest(spec.path) for spec in model.adapters if spec.scale == 0.7)

    def inspect_of_model(self, reference: str) -> str:
        return self._inspected(reference, "mine")

    def push_of_model(self, reference: str) -> str:
        return publication_of(reference, "mine", None).files[0].sha256

    def _inspected(self, reference: str, base: str) -> str:
        assert main(["inspect", reference, "--base", base, "--json"]) == 0
        return str(json.loads(self.capture.readouterr().out)["adapters"][0]["sha256"])


ALONE = (
    Faces.fuse,
    Faces.adapter_line,
    Faces.dialog,
    Faces.library,
    Faces.inspect,
    Faces.push,
)
OF_MODEL = (Faces.lora_of_model, Faces.inspect_of_model, Faces.push_of_model)


@dataclass(frozen=True, slots=True)
class Case:
    """What a reference means while other adapters have the same name."""

    reference: str
    present: str
    """Where adapters of the name are, besides the stack of the model."""
    alone: str
    """Which of them it means."""
    of_model: str
    """Which of them it means where the stack of the model is at hand."""


CASES = (
    Case(NAME, "pulled", "pulled", "stacked"),
    Case(NAME, "file pulled", "file", "stacked"),
    Case(NAME, "folder pulled", "folder", "stacked"),
    Case(f"./{NAME}", "file pulled", "file", "file"),
    Case(f"~/{NAME}", "file pulled", "file", "file"),
    Case(f"'./{NAME}'", "file pulled", "file", "file"),
    Case(NAME.upper(), "pulled", "pulled", "pulled"),
    Case("far/stacked.gguf", "pulled", "stacked", "stacked"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.reference} of {case.present}")
def test_the_same_reference_is_the_same_adapter_everywhere(
    case: Case, shelf: Shelf, base: Base, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(shelf.folder))
    paths = {"pulled": shelf.pulled, "stacked": shelf.stacked}
    if "file" in case.present:
        paths["file"] = shelf.file()
    if "folder" in case.present:
        paths["folder"] = shelf.file(f"{NAME}/other.gguf")
    shelf.pull(shelf.pulled)
    faces = Faces(shelf, base, capsys)
    names = {_digest(path): name for name, path in paths.items()}
    alone = {face.__name__: names[face(faces, case.reference)] for face in ALONE}
    assert alone == dict.fromkeys(alone, case.alone)
    of_model = {face.__name__: names[face(faces, case.reference)] for face in OF_MODEL}
    assert of_model == dict.fromkeys(of_model, case.of_model)


def test_what_is_converted_is_found_in_the_same_order(shelf: Shelf, capsys: Capture) -> None:
    shelf.pull(shelf.peft("far/peft"))

    def title(reference: str) -> str:
        arguments = [reference, "--base", str(shelf.base), "-o", "out.gguf", "--force", "--json"]
        assert main(["convert", *arguments]) == 0
        return str(json.loads(capsys.readouterr().out)["name"])

    assert title(NAME) == "peft"
    shelf.mlx()
    assert title(NAME) == NAME
    assert title(f"./{NAME}/adapters.safetensors") == NAME


@pytest.mark.parametrize("reference", ["nobody", "./nobody", "hf.co/nobody", "notes.txt", "empty"])
def test_wrong_input_is_the_same_sentence_everywhere(
    reference: str, shelf: Shelf, base: Base, capsys: Capture
) -> None:
    (shelf.folder / "notes.txt").write_text("nothing to see")
    (shelf.folder / "empty").mkdir()
    faces = Faces(shelf, base, capsys)
    said = set()
    for face in (Faces.adapter_line, Faces.dialog, Faces.library, Faces.push):
        with pytest.raises((EngineError, ModelfilesError)) as raised:
            face(faces, reference)
        said.add(str(raised.value).removeprefix(f"(line 2): ADAPTER {reference}: "))
    arguments = ["--lora", reference, "--base", str(shelf.base), "-o", "out.gguf"]
    assert main(["fuse", *arguments]) == 1
    said.add(capsys.readouterr().err.removeprefix("Error: ").removesuffix("\n"))
    assert len(said) == 1, said


def _digest(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
