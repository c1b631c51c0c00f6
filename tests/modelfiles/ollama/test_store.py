"""Ollama's store, laid out by hand: what of it becomes a model, and what is said of the rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelfiles.errors import ModelNotFoundError, OllamaError
from modelfiles.library import Library
from modelfiles.model import AdapterSpec, Kept, ListedModel, Message, Model
from modelfiles.ollama.root import ollama_root
from modelfiles.ollama.store import OllamaStore
from modelfiles.parameters import Parameters
from modelfiles.references.model_name import ModelName
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels
from tests.modelfiles.user_files import Folder
from tests.support.ollama_store import OllamaFolder
from tests.support.places import MODELFILE_DATA

BASE = b"GGUF base"
CASES: list[dict[str, Any]] = json.loads(
    (MODELFILE_DATA / "names.json").read_text(encoding="utf-8")
)


@pytest.fixture
def ollama(tmp_path: Path) -> OllamaFolder:
    return OllamaFolder(tmp_path / "ollama")


@pytest.fixture
def library(home: Path, package: PackagedModels, ollama: OllamaFolder) -> Library:
    return Library(home, package, OllamaStore(ollama.root))


def plain(ollama: OllamaFolder, path: str = "registry.ollama.ai/library/tiny/latest") -> Path:
    """Write a model of a base alone and return its manifest."""
    return ollama.model(path, [("model", BASE)])


def only(library: Library) -> ListedModel:
    """Return the one model of Ollama that is listed."""
    (listed,) = (model for model in library.list() if model.origin == "ollama")
    return listed


@pytest.mark.parametrize(
    ("value", "root"),
    [
        ("/models", "/models"),
        ("  '/my models' \n", "/my models"),
        ('"/models"', "/models"),
        ("", "~/.ollama/models"),
        (" ", "~/.ollama/models"),
    ],
)
def test_the_root_is_the_variable_without_quotes_else_in_the_home(value: str, root: str) -> None:
    assert ollama_root({"OLLAMA_MODELS": value}) == Path(root).expanduser()
    assert ollama_root({}) == Path("~/.ollama/models").expanduser()


def test_every_layer_gives_its_part_of_the_model(library: Library, ollama: OllamaFolder) -> None:
    ollama.model(
        "registry.ollama.ai/library/full/1b",
        [
            ("model", BASE),
            ("adapter", b"GGUF one"),
            ("adapter", b"GGUF two"),
            ("projector", b"GGUF eyes"),
            ("draft", b"GGUF draft"),
            ("template", "{{ .Prompt }}"),
            ("system", "Be bri\u00e9f."),
            ("params", {"stop": ["a", "b"], "num_ctx": 4096, "temperature": 1, "top_k": 20.0}),
            ("messages", [{"role": "user", "content": "hi"}, {"role": "assistant"}]),
            ("license", "MIT"),
            ("license", "Apache"),
        ],
        renderer="qwen3-coder",
        parser="qwen3",
        requires="0.14.0",
    )
    blobs = {path.read_bytes(): path for path in (ollama.root / "blobs").iterdir()}
    assert library.get("full:1b") == Model(
        name="full:1b",
        base=blobs[BASE],
        adapters=(
            AdapterSpec("adapter", blobs[b"GGUF one"], 1.0),
            AdapterSpec("adapter-2", blobs[b"GGUF two"], 1.0),
        ),
        parameters=Parameters(stop=("a", "b"), num_ctx=4096, temperature=1.0, top_k=20),
        system="Be bri\u00e9f.",
        template="{{ .Prompt }}",
        messages=(Message("user", "hi"), Message("assistant", "")),
        licenses=("MIT", "Apache"),
        kept=Kept(
            "qwen3-coder",
            "qwen3",
            "0.14.0",
            (blobs[b"GGUF draft"],),
        ),
    )


def test_parameters_that_mean_nothing_here_are_left_out(
    library: Library, ollama: OllamaFolder
) -> None:
    given = {
        "mirostat": 1,
        "unheard_of": 3,
        "num_ctx": "many",
        "seed": 1.5,
        "top_k": None,
        "temperature": {"a": 1},
        "use_mmap": False,
        "num_keep": True,
        "top_p": 7,
        "stop": "x",
    }
    ollama.model("registry.ollama.ai/library/odd/latest", [("model", BASE), ("params", given)])
    assert library.get("odd").parameters == Parameters(use_mmap=False, stop=("x",))


def test_the_old_name_of_the_template_layer_is_read(library: Library, ollama: OllamaFolder) -> None:
    ollama.model(
        "registry.ollama.ai/library/old/latest", [("model", BASE), ("prompt", "{{ .Prompt }}")]
    )
    assert library.get("old").template == "{{ .Prompt }}"


@pytest.mark.parametrize("case", [c for c in CASES if c["valid"]], ids=lambda c: c["input"])
def test_every_name_leads_to_its_manifest_whatever_its_case(
    case: dict[str, Any], library: Library, ollama: OllamaFolder
) -> None:
    plain(ollama, case["manifest_path"])
    assert only(library).name == case["display"]
    assert library.get(case["input"]).name == case["display"]
    assert library.get(case["display"].upper()).name == case["display"]


def test_old_blobs_with_a_colon_are_found(library: Library, ollama: OllamaFolder) -> None:
    plain(ollama)
    for path in list((ollama.root / "blobs").iterdir()):
        path.rename(path.with_name(path.name.replace("-", ":")))
    assert library.get("tiny").base.read_bytes() == BASE


def test_a_listed_model_has_ollamas_id_and_the_size_of_what_is_loaded(
    library: Library, ollama: OllamaFolder
) -> None:
    manifest = ollama.model(
        "registry.ollama.ai/library/tiny/latest",
        [("model", BASE), ("adapter", b"GGUF one"), ("license", "MIT")],
    )
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    listed = only(library)
    assert (listed.name, listed.digest, listed.n_adapters) == ("tiny:latest", digest, 1)
    assert (listed.size_bytes, listed.problem) == (len(BASE) + len(b"GGUF one"), None)
    assert listed.modified.timestamp() == pytest.approx(manifest.stat().st_mtime)


def test_own_models_come_before_ollamas_of_the_same_name(
    library: Library, ollama: OllamaFolder, store: ModelStore, folder: Folder
) -> None:
    for name in ("demo", "mine"):
        plain(ollama, f"registry.ollama.ai/library/{name}/latest")
    store.create("mine", Model("", folder.gguf("base.gguf")))
    for name, origin in (("demo", "package"), ("mine", "created")):
        full = f"registry.ollama.ai/library/{name}:latest"
        found = library.find(name)
        assert (found.origin, found.hides) == (origin, full)
        assert found.model.base.read_bytes() != BASE
        other = library.find(full.removesuffix(":latest"))
        assert (other.origin, other.model.name) == ("ollama", full)
        assert other.model.base.read_bytes() == BASE
        assert full in [model.name for model in library.list() if model.origin == "ollama"]
        assert library.find(full).model == other.model


def test_the_nearest_of_ollamas_names_is_proposed(library: Library, ollama: OllamaFolder) -> None:
    plain(ollama, "registry.ollama.ai/library/mistral/7b")
    with pytest.raises(ModelNotFoundError, match=r'did you mean "mistral:7b"'):
        library.get("mistrl:7b")


def _cloud(ollama: OllamaFolder) -> None:
    ollama.model(
        "registry.ollama.ai/library/tiny/latest",
        [],
        remote_host="https://ollama.com:443",
        remote_model="big",
    )


def _safetensors(ollama: OllamaFolder) -> None:
    ollama.model(
        "registry.ollama.ai/library/tiny/latest",
        [("tensor", b"weights"), ("json", {})],
        model_format="safetensors",
    )


def _other_format(ollama: OllamaFolder) -> None:
    path = "registry.ollama.ai/library/tiny/latest"
    ollama.model(path, [("model", BASE)], model_format="onnx\x1b[2J")


def _no_weights(ollama: OllamaFolder) -> None:
    ollama.model("registry.ollama.ai/library/tiny/latest", [("template", "x")])


def _missing(ollama: OllamaFolder) -> None:
    plain(ollama)
    ollama.blob(BASE).unlink()


def _unfinished(ollama: OllamaFolder) -> None:
    plain(ollama)
    blob = ollama.blob(BASE)
    blob.rename(blob.with_name(f"{blob.name}-partial"))


def _cut(ollama: OllamaFolder) -> None:
    plain(ollama)
    ollama.blob(BASE).write_bytes(BASE[:-1])


def _garbage(ollama: OllamaFolder) -> None:
    ollama.manifest("registry.ollama.ai/library/tiny/latest", b"\xff\x00{")


def _foreign(ollama: OllamaFolder) -> None:
    ollama.manifest("registry.ollama.ai/library/tiny/latest", b'{"layers": 3}')


def _escaping(ollama: OllamaFolder) -> None:
    layer = {"mediaType": "x", "digest": "sha256:../../../../etc/passwd", "size": 1}
    content = json.dumps({"config": layer, "layers": [layer]}).encode()
    ollama.manifest("registry.ollama.ai/library/tiny/latest", content)


def _deep(ollama: OllamaFolder) -> None:
    ollama.manifest("registry.ollama.ai/library/tiny/latest", b"[" * 200_000)


def _bad_messages(ollama: OllamaFolder) -> None:
    path = "registry.ollama.ai/library/tiny/latest"
    ollama.model(path, [("model", BASE), ("messages", {"role": "user"})])


def _a_folder_as_blob(ollama: OllamaFolder) -> None:
    plain(ollama)
    blob = ollama.blob(BASE)
    blob.unlink()
    blob.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_cloud, "runs in Ollama's cloud and has no weights on this machine"),
        (_safetensors, "is stored as safetensors, which llama.cpp cannot run"),
        (_other_format, 'has the format "onnx'),
        (_no_weights, "has no weights among its files"),
        (_missing, "is damaged: the file of its weights"),
        (_unfinished, "is downloaded only in part; 'ollama pull tiny:latest' brings it back"),
        (_cut, "is incomplete: the file of its weights has 8 of 9 bytes"),
        (_garbage, "cannot be read: "),
        (_foreign, "cannot be read: "),
        (_escaping, "cannot be read: "),
        (_deep, "cannot be read: "),
        (_bad_messages, "its messages cannot be read: "),
        (_a_folder_as_blob, "cannot be read: not a file"),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_what_cannot_be_run_is_listed_with_the_reason(
    damage: Callable[[OllamaFolder], None], reason: str, library: Library, ollama: OllamaFolder
) -> None:
    damage(ollama)
    ollama.model("registry.ollama.ai/library/sound/latest", [("model", b"GGUF sound")])
    problems = {model.name: model.problem for model in library.list()}
    assert problems["sound:latest"] is None
    problem = problems["tiny:latest"]
    assert problem is not None
    assert problem.startswith("model tiny:latest of Ollama")
    assert reason in problem
    assert problem.isprintable()
    with pytest.raises(OllamaError) as raised:
        library.get("tiny")
    assert str(raised.value) == problem


def test_folders_that_may_not_be_read_are_named_and_passed_over(
    ollama: OllamaFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(ollama)
    plain(ollama, "registry.ollama.ai/secret/hidden/latest")
    locked = ollama.root / "manifests/registry.ollama.ai/secret"
    look = os.scandir

    # Tests that run as root may read everything, so the refusal is made here.
    def scandir(path: Path) -> Any:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    store = OllamaStore(ollama.root)
    assert [model.name for model in store.list()] == ["tiny:latest"]
    (problem,) = store.problems()
    assert problem == (
        f"Ollama's folder {locked} cannot be read: Permission denied; models in it are left out"
    )


@pytest.mark.parametrize("root", ["absent", "/dev/null", "file"])
def test_no_store_at_all_is_no_problem(root: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = OllamaStore(tmp_path / root)
    assert (store.list(), store.problems(), store.names()) == ([], [], [])
    assert store.get(ModelName.parse("tiny")) is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_that_are_no_manifests_are_passed_over(
    library: Library, ollama: OllamaFolder
) -> None:
    for path in (
        "README",
        "registry.ollama.ai/README",
        "registry.ollama.ai/library/tiny/.DS_Store",
        "registry.ollama.ai/library/tiny/a/b",
        "registry.ollama.ai/-x/tiny/latest",
    ):
        ollama.manifest(path, b"{}")
    assert [model.origin for model in library.list()] == ["package"]


def test_nothing_in_the_store_is_ever_changed(
    library: Library, ollama: OllamaFolder, home: Path, package: PackagedModels
) -> None:
    ollama.model(
        "registry.ollama.ai/library/tiny/latest", [("model", BASE), ("adapter", b"GGUF one")]
    )
    _garbage(OllamaFolder(ollama.root))
    plain(ollama, "hf.co/someone/tuned/Q8_0")
    before = ollama.listing()
    library.list()
    model = library.get("hf.co/someone/tuned:q8_0")
    ModelStore(home, package).create("mine", model)
    library.get("mine")
    with pytest.raises(OllamaError):
        library.get("tiny")
    ModelStore(home, package).remove("mine")
    assert ollama.listing() == before
