"""What the project promises whoever installs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TRAINING_ONLY = {"torch", "peft", "transformers", "tokenizers", "safetensors"}


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert match
    return match[0].lower()


def test_nobody_needs_torch_to_chat() -> None:
    assert not {name_of(r) for r in PROJECT["dependencies"]} & TRAINING_ONLY
    assert not {name_of(r) for r in PROJECT["optional-dependencies"]["dev"]} & TRAINING_ONLY


def test_the_extra_pins_torch() -> None:
    extra = PROJECT["optional-dependencies"]["peft"]
    assert {name_of(r) for r in extra} == TRAINING_ONLY
    assert "torch==2.13.0" in extra
    assert set(PROJECT["optional-dependencies"]["bench"]) <= set(extra)


@pytest.mark.parametrize("target", ["test", "chat"])
def test_without_a_compiler_make_says_what_to_install(tmp_path: Path, target: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "make", "python3"):
        found = shutil.which(tool)
        assert found, f"{tool} is needed to run this test"
        (tools / tool).symlink_to(found)
    make = shutil.which("make")
    assert make
    environ = {k: v for k, v in os.environ.items() if k not in ("CXX", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [make, target, f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        env={**environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "C++ compiler" in done.stderr
    assert "apt-get install g++" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_demo_stays_small() -> None:
    weights = sum(file.stat().st_size for file in (ROOT / "modelfiles" / "demo").glob("*.gguf"))
    assert 0 < weights < 12e6
