"""In which order the places are tried where FROM and ADAPTER may lead, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.errors import ReferenceNotFoundError
from modelfiles.hub_reference import HubReference
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Model
from modelfiles.modelfile import Modelfile
from modelfiles.ollama.store import OllamaStore
from modelfiles.package import PackagedModels
from modelfiles.resolve import resolve
from modelfiles.store import ModelStore
from tests.modelfiles.user_files import Folder
from tests.support.ollama_store import OllamaFolder


class Hub:
    """Stands for the download: a file for every reference, and a record of them."""

    def __init__(self, folder: Folder) -> None:
        self.asked: list[HubReference] = []
        self._folder = folder

    def download(self, reference: HubReference) -> Path:
        self.asked.append(reference)
        if reference.repo == "user/gone":
            raise ReferenceNotFoundError("hf.co/user/gone does not exist or is private.")
        return self._folder.gguf(f"cache/{reference.repo}/file.gguf")


@pytest.fixture
def ollama(tmp_path: Path) -> OllamaFolder:
    return OllamaFolder(tmp_path / "ollama")


@pytest.fixture
def library(home: Path, package: PackagedModels, ollama: OllamaFolder) -> Library:
    return Library(home, package, OllamaStore(ollama.root))


@pytest.fixture
def hub(folder: Folder) -> Hub:
    return Hub(folder)


def resolved(text: str, folder: Folder, library: Library, hub: Hub) -> tuple[Model, str]:
    """Return the model and what FROM is said to be."""
    told: list[str] = []
    model = resolve(
        Modelfile.from_text(text),
        folder.path,
        library,
        "mine",
        download=hub.download,
        on_choice=told.append,
    )
    (sentence,) = told
    return model, sentence


def test_a_path_comes_first_then_own_models_then_ollamas(
    folder: Folder, library: Library, hub: Hub, ollama: OllamaFolder, store: ModelStore
) -> None:
    text = "FROM thing"
    ollama.model("registry.ollama.ai/library/thing/latest", [("model", b"GGUF of Ollama")])
    model, sentence = resolved(text, folder, library, hub)
    assert model.base.read_bytes() == b"GGUF of Ollama"
    assert sentence == "(line 1): FROM thing is the model thing:latest of Ollama's store"

    store.create("thing", Model("", folder.gguf("created.gguf")))
    model, sentence = resolved(text, folder, library, hub)
    assert model.base.read_bytes() == b"GGUFcreated.gguf"
    assert sentence == (
        "(line 1): FROM thing is the created model thing:latest; Ollama's model of that name is"
        " registry.ollama.ai/library/thing:latest"
    )

    file = folder.gguf("thing", "beside")
    model, sentence = resolved(text, folder, library, hub)
    assert model.base == file
    assert sentence == f"(line 1): FROM thing is the file {file}"
    assert hub.asked == []


def test_a_repository_is_downloaded_unless_ollama_has_it(
    folder: Folder, library: Library, hub: Hub, ollama: OllamaFolder
) -> None:
    text = "FROM hf.co/user/repo:q4_k_m"
    model, sentence = resolved(text, folder, library, hub)
    assert model.base == folder.path / "cache/user/repo/file.gguf"
    assert hub.asked == [HubReference("user/repo", "q4_k_m", "model")]
    assert sentence == f"(line 1): {text} is file.gguf of the Hugging Face Hub"

    ollama.model("hf.co/user/repo/Q4_K_M", [("model", b"GGUF of Ollama")])
    model, sentence = resolved(text, folder, library, hub)
    assert model.base.read_bytes() == b"GGUF of Ollama"
    assert "is the model hf.co/user/repo:Q4_K_M of Ollama's store" in sentence
    assert len(hub.asked) == 1


def test_an_adapter_is_a_path_before_it_is_a_repository(
    folder: Folder, library: Library, hub: Hub
) -> None:
    folder.gguf("base.gguf")
    text = 'FROM ./base.gguf\nADAPTER hf.co/user/lora:a.gguf 0.5\nADAPTER "hf.co/user/lora"\n'
    model, _ = resolved(text, folder, library, hub)
    downloaded = folder.path / "cache/user/lora/file.gguf"
    assert model.adapters == (
        AdapterSpec("file", downloaded, 0.5),
        AdapterSpec("file-2", downloaded, 1.0),
    )
    assert hub.asked == [
        HubReference("user/lora", "a.gguf", "adapter"),
        HubReference("user/lora", None, "adapter"),
    ]
    file = folder.gguf("hf.co/user/lora")
    model, _ = resolved("FROM ./base.gguf\nADAPTER hf.co/user/lora", folder, library, hub)
    assert model.adapters[0].path == file


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "FROM hf.co/user/gone",
            "(line 1): FROM hf.co/user/gone: hf.co/user/gone does not exist or is private.",
        ),
        (
            "FROM ./base.gguf\nADAPTER hf.co/user/gone scale=0.5",
            "(line 2): ADAPTER hf.co/user/gone: hf.co/user/gone does not exist or is private.",
        ),
        ("FROM big", "(line 1): FROM big: model big:latest of Ollama runs in Ollama's cloud"),
        ("FROM hf.co/user", '(line 1): FROM hf.co/user: "user" is no repository of the'),
    ],
)
def test_what_cannot_be_had_is_said_with_its_line(
    text: str, message: str, folder: Folder, library: Library, hub: Hub, ollama: OllamaFolder
) -> None:
    folder.gguf("base.gguf")
    ollama.model("registry.ollama.ai/library/big/latest", [], remote_host="https://ollama.com")
    with pytest.raises(ReferenceNotFoundError) as raised:
        resolve(Modelfile.from_text(text), folder.path, library, "mine", download=hub.download)
    assert str(raised.value).startswith(message)
