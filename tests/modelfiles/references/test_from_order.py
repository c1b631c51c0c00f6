"""In which order the places are tried where FROM may lead, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.errors import ModelNotFoundError, ReferenceNotFoundError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Model
from modelfiles.ollama.store import OllamaStore
from modelfiles.references.hub import HubReference
from modelfiles.references.resolve import resolve
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels
from tests.modelfiles.user_files import Folder
from tests.support.ollama_store import OllamaFolder


class Hub:
    """Stands for the download: a file for every reference."""

    def __init__(self, folder: Folder) -> None:
        self.asked: list[HubReference] = []
        self._folder = folder

    def download(self, reference: HubReference) -> Path:
        self.asked.append(reference)
        if reference.repo == "user/gone":
            raise ReferenceNotFoundError("hf.co/user/gone does not exist or is private.")
        return self._folder.gguf(f"cache/{reference.repo}/file.gguf")

    def adapter(self, reference: str, folder: Path, base: Path) -> AdapterSpec:
        hub = HubReference.parse(reference, "adapter")
        assert hub is not None
        return AdapterSpec(hub.repo.replace("/", "-"), self.download(hub))


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
        adapters=hub.adapter,
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


def test_an_adapter_of_the_hub_has_a_scale_and_a_name_of_its_own(
    folder: Folder, library: Library, hub: Hub
) -> None:
    folder.gguf("base.gguf")
    text = 'FROM ./base.gguf\nADAPTER hf.co/user/lora:a.gguf 0.5\nADAPTER "hf.co/user/lora"\n'
    model, _ = resolved(text, folder, library, hub)
    downloaded = folder.path / "cache/user/lora/file.gguf"
    assert model.adapters == (
        AdapterSpec("user-lora", downloaded, 0.5),
        AdapterSpec("user-lora-2", downloaded, 1.0),
    )
    assert hub.asked == [
        HubReference("user/lora", "a.gguf", "adapter"),
        HubReference("user/lora", None, "adapter"),
    ]


def test_a_pulled_model_is_found_by_its_repository_alone(
    folder: Folder, library: Library, hub: Hub, store: ModelStore
) -> None:
    for tag in ("Q8_0", "Q4_K_M", "Q2_K"):
        store.create(f"hf.co/user/repo:{tag}", Model("", folder.gguf(f"{tag}.gguf")))
    for name in ("hf.co/user/repo", "https://huggingface.co/user/repo", "HF.co/User/repo:latest"):
        assert library.get(name).name == "hf.co/user/repo:Q4_K_M"
    assert library.get("hf.co/user/repo:q2_k").name == "hf.co/user/repo:Q2_K"
    _, sentence = resolved("FROM hf.co/user/repo", folder, library, hub)
    assert sentence.endswith("is the created model hf.co/user/repo:Q4_K_M")
    store.remove("hf.co/user/repo:Q4_K_M")
    assert library.get("hf.co/user/repo").name == "hf.co/user/repo:Q2_K"


@pytest.mark.parametrize("name", ["hf.co/user/other", "hf.co/user/repo:Q5_K_M"])
def test_a_model_of_the_hub_that_is_not_here_says_how_to_pull_it(
    name: str, folder: Folder, library: Library, store: ModelStore
) -> None:
    store.create("hf.co/user/repo:Q8_0", Model("", folder.gguf("a.gguf")))
    with pytest.raises(ModelNotFoundError, match=f"'tui pull {name}' downloads it"):
        library.get(name)


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
        resolve(
            Modelfile.from_text(text),
            folder.path,
            library,
            "mine",
            download=hub.download,
            adapters=hub.adapter,
        )
    assert str(raised.value).startswith(message)
