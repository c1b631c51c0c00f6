"""An adapter of the Hub is named by its file, its folder or its quantisation."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.hub.client.adapter_files import adapter_choices
from engine.hub.client.gguf_files import HubFile
from tests.support.fake_hub import FakeHub, Weather
from tests.support.hub_child import HubChild
from tests.support.peft_folders import pair, write_peft

LORA = "hf.co/ann/pirate-lora"
WEIGHTS = "adapter_model.safetensors"


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


def test_a_folder_whose_weights_are_gone_is_fetched_again(
    child: HubChild, hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["ann/pirate-lora"] = peft_files(tmp_path)
    weights = Path(pull(child)["path"]) / WEIGHTS
    weights.unlink()
    pull(child)
    assert weights.is_file()
