"""Adapters of other methods where the extra is not installed, or PEFT cannot make them a LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from engine.adapters.foreign.peft import to_lora as to_lora_module
from engine.adapters.foreign.peft.methods import CONVERTIBLE, install_command, remedy
from engine.adapters.foreign.peft.to_lora import needs_weights, peft_type_of, to_lora
from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.command_line import run_python
from tests.support.peft_folders import safetensors_bytes

IMPORTS = """
import sys
from pathlib import Path
from engine.adapters.foreign.peft import to_lora
from engine.errors import AdapterError
try:
    to_lora.to_lora(Path("loha"), None, 4, Path("out"))
except AdapterError as error:
    print(error)
print(sorted({"torch", "peft", "transformers", "safetensors", "numpy"} & set(sys.modules)))
"""


def write_folder(folder: Path, method: str, **fields: Any) -> Path:
    folder.mkdir()
    config = {"peft_type": method, "r": 4, "target_modules": ["q_proj"], **fields}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.0.self_attn.q_proj.hada_w1_a"
    content = safetensors_bytes({name: np.ones((4, 2))})
    (folder / "adapter_model.safetensors").write_bytes(content)
    return folder


def write_base_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def loha(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "loha", "LOHA")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.adapters.foreign.peft.methods.find_spec", lambda name: None)


@pytest.fixture
def with_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.adapters.foreign.peft.methods.find_spec", lambda name: object())


def refusal(folder: Path, weights: Path | None = None, rank: int | float = 4) -> str:
    out = folder.parent / "out"
    with pytest.raises(AdapterError) as caught:
        to_lora(folder, weights, rank, out)
    assert not out.exists()
    assert not [path for path in out.parent.iterdir() if path.name.endswith(".part")]
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_it_says_what_is_missing_and_how_to_install_it(loha: Path) -> None:
    assert refusal(loha) == (
        f"{loha} is a LOHA adapter, which PEFT can turn into a LoRA, but torch and peft and "
        f"transformers and safetensors are not installed: {install_command()}."
    )
    with pytest.raises(
        AdapterError, match=r"'LOHA', not LORA: \S+ -m pip install .*\[peft\]', then "
    ):
        read_source(loha)


def test_in_a_checkout_pip_is_given_the_checkout(tmp_path: Path) -> None:
    folder = tmp_path / "my checkout"
    folder.mkdir()
    assert install_command(folder).endswith(" -m pip install 'lora-tui[peft]'")
    (folder / "pyproject.toml").touch()
    assert install_command(folder).endswith(f" -m pip install -e '{folder}[peft]'")


@pytest.mark.usefixtures("with_extra")
def test_with_the_extra_the_reader_says_how_to_convert_it(loha: Path) -> None:
    with pytest.raises(
        AdapterError, match="not LORA: convert it with 'tui convert' and --weights FOLDER"
    ):
        read_source(loha)


def test_torch_is_never_loaded_by_the_command_itself(loha: Path) -> None:
    ended = run_python("-c", IMPORTS, home=loha.parent, folder=loha.parent)
    assert (ended.code, ended.err) == (0, "")
    sentence, heavy = ended.out.splitlines()
    assert "LOHA adapter" in sentence
    assert heavy == "[]"


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("OFT", "it rotates the base's weights"),
        ("IA3", "it scales the base's activations"),
        ("HIRA", "it multiplies the base's weights"),
        ("PREFIX_TUNING", "it adds virtual tokens"),
        ("NEW_METHOD", "PEFT cannot turn it into a LoRA either"),
        ("x\x1b[31m", "PEFT cannot turn it into a LoRA either"),
    ],
)
@pytest.mark.usefixtures("with_extra")
def test_what_peft_refuses_too_is_refused_with_the_reason(
    method: str, reason: str, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "other", method)
    message = refusal(folder, write_base_folder(tmp_path / "base"))
    assert reason in message
    assert message.endswith(("train a LoRA instead.", "what tui extract takes out of it."))
    assert message.isprintable()


@pytest.mark.usefixtures("with_extra")
def test_the_base_is_asked_for_as_far_as_it_is_needed(tmp_path: Path) -> None:
    loha = write_folder(tmp_path / "loha", "LOHA")
    assert "of which config.json is enough, with --weights FOLDER" in refusal(loha)
    assert "holds no config.json" in refusal(loha, tmp_path)
    psoft = write_folder(tmp_path / "psoft", "PSOFT")
    assert "with its weights, with --weights FOLDER" in refusal(psoft)
    base = write_base_folder(tmp_path / "base")
    assert "are computed from those" not in refusal(loha, base)
    assert "holds no weights, which the LoRA form of a PSOFT adapter" in refusal(psoft, base)


def test_only_two_methods_depend_on_the_weights_of_the_base(tmp_path: Path) -> None:
    found = {
        method: needs_weights(write_folder(tmp_path / method, method)) for method in CONVERTIBLE
    }
    assert [method for method, needs in found.items() if needs] == ["PSOFT"]
    bat = write_folder(tmp_path / "bat", "MISS", init_weights="bat")
    assert needs_weights(bat)


@pytest.mark.usefixtures("with_extra")
def test_what_is_no_case_for_peft_is_refused(tmp_path: Path) -> None:
    assert "is a LoRA already" in refusal(write_folder(tmp_path / "lora", "LORA"))
    biased = write_folder(tmp_path / "biased", "LOHA", modules_to_save=["lm_head"])
    assert "changes biases or whole modules" in refusal(biased)
    pickled = write_folder(tmp_path / "pickled", "LOHA")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    assert "save the adapter with safetensors" in refusal(pickled)
    named = write_folder(tmp_path / "unnamed", "LOHA", peft_type=3)
    assert "names no peft_type" in refusal(named)
    loha = write_folder(tmp_path / "loha", "LOHA")
    for rank in (0, -1, 0.0, 1.5, float("nan")):
        assert "give a whole number from 1" in refusal(loha, rank=rank)


@pytest.mark.usefixtures("with_extra")
def test_a_process_that_dies_is_one_sentence_and_leaves_nothing(
    loha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_lora_module, "CHILD", "engine.no_such_module")
    message = refusal(loha, write_base_folder(tmp_path / "base"))
    assert "cannot be made a LoRA, PEFT's process ended: " in message
    assert "No module named engine.no_such_module" in message


@pytest.mark.usefixtures("with_extra")
def test_an_interruption_ends_the_process_and_leaves_nothing(
    loha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def interrupt(title: str, fraction: float) -> None:
        pids.append(int(title))
        raise KeyboardInterrupt

    monkeypatch.setattr(to_lora_module, "CHILD", "tests.support.endless_child")
    base = write_base_folder(tmp_path / "base")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        to_lora(loha, base, 4, tmp_path / "out", interrupt)
    assert sorted(tmp_path.iterdir()) == before
    (pid,) = pids
    assert not psutil.pid_exists(pid)


@pytest.mark.usefixtures("with_extra")
def test_nothing_of_the_current_folder_is_run(
    loha: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile.py").write_text("print('{}')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(to_lora_module, "CHILD", "hostile")
    assert "No module named hostile" in refusal(loha, write_base_folder(tmp_path / "base"))


def test_the_method_is_read_whatever_its_case(tmp_path: Path) -> None:
    assert peft_type_of(write_folder(tmp_path / "loha", "loha")) == "LOHA"
    assert remedy("loha") == remedy("LOHA")
