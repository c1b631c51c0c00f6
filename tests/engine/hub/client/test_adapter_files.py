"""An adapter of the Hub is named by its file, its folder or its quantisation."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import HubError
from engine.hub.client.adapter_files import AdapterChoice, adapter_choices, chosen_adapter
from engine.hub.client.gguf_files import HubFile
from modelfiles.references.hub import HubReference
from tests.support import tiny_models
from tests.support.adapter_cases import BASE, CASES, error
from tests.support.fake_hub import FakeHub, Weather
from tests.support.hub_child import HubChild
from tests.support.peft_folders import pair, write_peft

LORA = "hf.co/ann/pirate-lora"
WEIGHTS = "adapter_model.safetensors"
FIRST_HALF = "adapter_model-00001-of-00002.safetensors"
SECOND_HALF = "adapter_model-00002-of-00002.safetensors"
HALF_PRECISION = 0.01
"""Logits are of the adapter in float32, which is stored in float16 here."""


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    child.hub.clear()
    return child.hub


def pull(child: HubChild, reference: str = LORA) -> dict[str, str]:
    told: dict[str, str] = child.ask("pull", reference=reference)
    return told


def peft_files(tmp_path: Path, folder: str = "") -> dict[str, bytes]:
    """Return the files of a PEFT adapter by their paths in a repository."""
    weights = {"model.layers.0.self_attn.q_proj": pair(64, 64, 4, 1)}
    written = write_peft(tmp_path / "peft", weights, alpha=8, r=4)
    return {folder + path.name: path.read_bytes() for path in written.iterdir()}


def test_names_that_lead_elsewhere_are_left_out(
    child: HubChild, hub: FakeHub, adapter: bytes, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = {
        "../../evil.gguf": adapter,
        "C:evil.gguf": adapter,
        "a\nevil.gguf": adapter,
        "lora.gguf": adapter,
    }
    assert pull(child)["path"].endswith("/lora.gguf")
    assert not list(tmp_path.rglob("evil.gguf"))


def test_choices_name_gguf_files_and_folders() -> None:
    names = [
        "lora-f16.gguf",
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.bin",
        "mlx/adapter_config.json",
        "mlx/adapters.safetensors",
        "half/adapter_config.json",
        "..\\x.gguf",
    ]
    found = adapter_choices(HubFile(name, 1) for name in names)
    assert [(choice.label, choice.kind, choice.weights.path) for choice in found] == [
        ("lora-f16.gguf", "gguf", "lora-f16.gguf"),
        ("", "peft", "adapter_model.safetensors"),
        ("mlx", "mlx", "mlx/adapters.safetensors"),
    ]


def chosen(names: list[str], choice: str | None = None) -> AdapterChoice:
    return chosen_adapter(
        HubReference("ann/lora", choice, "adapter"), [HubFile(name, 1) for name in names]
    )


def saved(*folders: str, weights: str = WEIGHTS) -> list[str]:
    return [f"{folder}{name}" for folder in folders for name in ("adapter_config.json", weights)]


@pytest.mark.parametrize(
    ("names", "choice", "label", "notice"),
    [
        (saved("checkpoint-9/", "checkpoint-10/"), None, "checkpoint-10", "Of 2 checkpoints"),
        (saved("checkpoint-9/", "checkpoint-10/"), "checkpoint-9", "checkpoint-9", ""),
        (saved("", "checkpoint-9/", "checkpoint-10/"), None, "", ""),
        (saved("out/checkpoint-9/", "out/checkpoint-10/"), "out", "out/checkpoint-10", "Of 2"),
        (saved("out/epoch_0/", "out/epoch_1/"), None, "out/epoch_1", "Of 2 checkpoints"),
        # Half of the newest: the newest whole one.
        (
            [*saved("checkpoint-1/", "checkpoint-2/"), *saved("checkpoint-3/", weights=FIRST_HALF)],
            None,
            "checkpoint-2",
            "Of 2 checkpoints",
        ),
    ],
)
def test_of_checkpoints_the_newest_is_taken_as_on_disk(
    names: list[str], choice: str | None, label: str, notice: str
) -> None:
    found = chosen(names, choice)
    assert (found.label, found.notice[: len(notice)]) == (label, notice)
    assert bool(found.notice) == bool(notice)


@pytest.mark.parametrize(
    "names",
    [
        saved("formal/", "pirate/"),
        saved("a/checkpoint-1/", "b/checkpoint-2/"),
        saved("checkpoint-1/", "pirate/"),
    ],
)
def test_adapters_that_are_no_checkpoints_of_one_training_are_named(names: list[str]) -> None:
    with pytest.raises(HubError, match="holds 2 adapters: name one behind a colon"):
        chosen(names)


def test_the_newest_checkpoint_is_offered_first() -> None:
    names = saved("checkpoint-10/", "checkpoint-100/", "checkpoint-90/")
    labels = [choice.label for choice in adapter_choices(HubFile(name, 1) for name in names)]
    assert labels == ["checkpoint-100", "checkpoint-10", "checkpoint-90"]


def test_the_newest_numbered_file_of_mlx_is_taken_where_there_is_no_last() -> None:
    numbered = ["0000100_adapters.safetensors", "0000200_adapters.safetensors"]
    found = chosen(["adapter_config.json", *numbered])
    assert (found.kind, found.weights.path) == ("mlx", numbered[1])
    assert [file.path for file in found.files] == ["adapter_config.json", numbered[1]]
    assert "of 2 checkpoints the newest was taken, 0000200_adapters.safetensors." in found.notice
    last = chosen(["adapter_config.json", *numbered, "adapters.safetensors"])
    assert (last.weights.path, last.notice) == ("adapters.safetensors", "")


@pytest.mark.parametrize("choice", [None, "sub", f"sub/{FIRST_HALF}", f"sub/{SECOND_HALF}"])
def test_parts_are_one_adapter_by_whichever_name(choice: str | None) -> None:
    names = ["adapter_config.json", FIRST_HALF, SECOND_HALF, f"{WEIGHTS}.index.json", "README.md"]
    found = chosen([f"sub/{name}" for name in names], choice)
    assert {file.path for file in found.files} == {f"sub/{name}" for name in names}
    assert (found.label, found.size_bytes, found.missing) == ("sub", len(names), ())


@pytest.mark.parametrize("there", [FIRST_HALF, SECOND_HALF])
@pytest.mark.parametrize("has_index", [False, True])
def test_a_missing_part_is_named(there: str, has_index: bool) -> None:
    names = ["adapter_config.json", there, *[f"{WEIGHTS}.index.json"] * has_index]
    (missing,) = {FIRST_HALF, SECOND_HALF} - {there}
    with pytest.raises(HubError, match=f"hf.co/ann/lora lacks {missing}, without which"):
        chosen(names)


def test_parts_of_an_older_version_do_not_make_it_incomplete() -> None:
    parts = [f"adapter_model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    index = f"{WEIGHTS}.index.json"
    found = chosen(["adapter_config.json", FIRST_HALF, *parts, index])
    assert found.missing == ()
    assert {*parts, index} < {file.path for file in found.files}


@pytest.mark.parametrize("choice", ["Q8_0", "q8_0", "sql-Q8_0", "sql-Q8_0.gguf"])
def test_an_adapter_is_named_by_its_quantisation_with_a_network_and_without(
    child: HubChild, hub: FakeHub, adapter: bytes, choice: str
) -> None:
    hub.repos["ann/pirate-lora"] = {"sql-Q8_0.gguf": adapter, "sql-F16.gguf": adapter}
    told = pull(child, f"{LORA}:{choice}")
    assert told["name"] == "sql-q8_0"
    pull(child, f"{LORA}:F16")
    hub.weather.append(Weather("/api/models", status=503))
    assert pull(child, f"{LORA}:{choice}")["name"] == "sql-q8_0"


@pytest.mark.parametrize("choice", ["tuned/sql", "sql", "sql/", f"tuned/sql/{WEIGHTS}"])
def test_a_folder_is_named_with_a_network_and_without(
    child: HubChild, hub: FakeHub, tmp_path: Path, choice: str
) -> None:
    hub.repos["ann/pirate-lora"] = peft_files(tmp_path, "tuned/sql/")
    told = pull(child, f"{LORA}:{choice}")
    assert told["name"] == "pirate-lora-sql"
    hub.weather.append(Weather("/api/models", status=503))
    assert pull(child, f"{LORA}:{choice}")["path"] == told["path"]


@pytest.fixture
def sharded() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (CASES / "sharded").iterdir()}


@pytest.mark.parametrize("choice", ["", f":{FIRST_HALF}", f":{SECOND_HALF}"])
def test_parts_are_pulled_whole_and_answer_as_peft_does(
    child: HubChild, hub: FakeHub, tmp_path: Path, sharded: dict[str, bytes], choice: str
) -> None:
    hub.repos["ann/pirate-lora"] = {**sharded, "optimizer.pt": b"x"}
    told = pull(child, f"{LORA}{choice}")
    assert {path.name for path in Path(told["path"]).iterdir()} == set(sharded)
    assert error(Path(told["path"]), tmp_path / "out.gguf") < HALF_PRECISION
    # A part that was lost is fetched again, and all go when the adapter is removed.
    (Path(told["path"]) / SECOND_HALF).unlink()
    assert (Path(pull(child)["path"]) / SECOND_HALF).is_file()
    assert child.tui("rm", told["name"], "--files").code == 0
    assert not Path(told["path"]).exists()


def test_a_lone_part_is_not_pulled(
    child: HubChild, hub: FakeHub, sharded: dict[str, bytes]
) -> None:
    del sharded[SECOND_HALF]
    hub.repos["ann/pirate-lora"] = sharded
    told = pull(child)
    assert f"hf.co/ann/pirate-lora lacks {SECOND_HALF}" in told["error"]
    verdict, reason, _ = child.ask("fit", reference=LORA, base=str(BASE))
    assert (verdict, SECOND_HALF in reason) == ("error", True)


def test_whether_parts_fit_is_told_by_all_their_headers(
    child: HubChild, hub: FakeHub, tmp_path: Path, sharded: dict[str, bytes]
) -> None:
    hub.repos["ann/pirate-lora"] = sharded
    verdict, reason, _ = child.ask("fit", reference=LORA, base=str(BASE))
    assert (verdict, reason) == ("fits", "")
    other = tiny_models.write_base(tmp_path / "base.gguf", n_layer=1)
    verdict, reason, _ = child.ask("fit", reference=LORA, base=str(other))
    assert verdict == "does not fit"


def test_the_newest_checkpoint_is_pulled_with_a_notice(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = {
        **peft_files(tmp_path, "checkpoint-90/"),
        **peft_files(tmp_path, "checkpoint-100/"),
    }
    ended = child.tui("pull", LORA)
    assert ended.code == 0
    assert "Of 2 checkpoints the newest was taken, checkpoint-100: name the folder" in ended.err
    assert ended.out.startswith("pulled 'pirate-lora-checkpoint-100' (PEFT")
    assert child.tui("pull", f"{LORA}:checkpoint-90").err == ""


def test_an_adapter_of_mistral_finetune_is_pulled_with_its_params(
    child: HubChild, hub: FakeHub
) -> None:
    files = {path.name: path.read_bytes() for path in (CASES / "mistral-finetune").iterdir()}
    del files["adapter_config.json"]
    hub.repos["ann/pirate-lora"] = files
    told = pull(child)
    assert {path.name for path in Path(told["path"]).iterdir()} == set(files)
    hub.requests.clear()
    assert pull(child)["path"] == told["path"]
    assert not any("resolve" in request for request in hub.requests)


def test_a_folder_whose_weights_are_gone_is_fetched_again(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = peft_files(tmp_path)
    weights = Path(pull(child)["path"]) / WEIGHTS
    weights.unlink()
    pull(child)
    assert weights.is_file()
