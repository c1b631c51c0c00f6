"""What the project promises whoever installs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
Made = subprocess.CompletedProcess[str]
BUILT_BY_ITSELF = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "llama-cpp-python"
version = "99.0"
"""
BACKEND = """\
import os, zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    name, information = "llama_cpp_python-99.0-py3-none-any.whl", "llama_cpp_python-99.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        built = f"{os.environ.get('CMAKE_ARGS')} {os.urandom(8).hex()}"
        wheel.writestr("llama_cpp_built.txt", built)
        wheel.writestr(f"{information}/METADATA", open("PKG-INFO").read())
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{information}/RECORD", "llama_cpp_built.txt,,\\n")
    return name
"""
"""Builds a package that says what CMAKE_ARGS was, and something else each time."""
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


@pytest.fixture(scope="module")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds pip alone."""
    folder = tmp_path_factory.mktemp("venv") / "empty"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


def make_without_compiler(folder: Path, venv: Path, target: str, **environ: str) -> Made:
    """Run make where neither a compiler nor a network is, in a copy of a virtual environment."""
    tools = folder / "bin"
    if not tools.exists():
        tools.mkdir()
        for tool in ("sh", "make", "cat", "rm", "touch"):
            found = shutil.which(tool)
            assert found, f"{tool} is needed to run this test"
            (tools / tool).symlink_to(found)
        (tools / "python3").symlink_to(sys.executable)
        shutil.copytree(venv, folder / "venv", symlinks=True)
    return subprocess.run(
        [tools / "make", f"VENV={folder / 'venv'}", target.format(venv=folder / "venv")],
        cwd=ROOT,
        env={
            "PATH": str(tools),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_CACHE_DIR": str(folder / "cache"),
            "PIP_NO_INDEX": "1",
            **environ,
        },
        capture_output=True,
        text=True,
    )


def write_wheel(folder: Path, version: str) -> None:
    """Write a package of llama-cpp-python that fits every machine and holds nothing."""
    information = f"llama_cpp_python-{version}.dist-info"
    name = f"Name: llama-cpp-python\nVersion: {version}\n"
    with ZipFile(folder / f"llama_cpp_python-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llama_cpp/__init__.py", "")
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\n{name}")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


def write_source(folder: Path) -> None:
    """Write source of llama-cpp-python that is built at once."""
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 99.0\n",
        "pyproject.toml": BUILT_BY_ITSELF,
        "backend.py": BACKEND,
    }
    with tarfile.open(folder / "llama_cpp_python-99.0.tar.gz", "w:gz") as source:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"llama_cpp_python-99.0/{name}")
            entry.size = len(text.encode())
            source.addfile(entry, BytesIO(text.encode()))


@pytest.mark.parametrize("target", ["test", "chat", "wheels"])
def test_with_neither_package_nor_compiler_make_says_what_to_install(
    tmp_path: Path, empty_venv: Path, target: str
) -> None:
    done = make_without_compiler(tmp_path, empty_venv, target, DIR=str(tmp_path / "wheels"))
    assert done.returncode != 0
    assert "no C++\ncompiler" in done.stderr
    assert "apt-get install g++" in done.stderr
    assert "PIP_FIND_LINKS" in done.stderr


def test_where_pip_finds_a_package_that_fits_no_compiler_is_asked_for(
    tmp_path: Path, empty_venv: Path
) -> None:
    write_wheel(tmp_path, "99.0")
    links = {"PIP_FIND_LINKS": str(tmp_path)}
    done = make_without_compiler(tmp_path, empty_venv, "{venv}/.llama-ready", **links)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "venv").rglob("llama_cpp_python-99.0.dist-info"))


@pytest.mark.parametrize(
    ("version", "environ"), [("0.1.0", {}), ("99.0", {"CMAKE_ARGS": "-DGGML_CUDA=on"})]
)
def test_an_old_package_and_one_built_for_something_else_do_not_fit(
    tmp_path: Path, empty_venv: Path, version: str, environ: dict[str, str]
) -> None:
    write_wheel(tmp_path, version)
    links = {"PIP_FIND_LINKS": str(tmp_path), **environ}
    done = make_without_compiler(tmp_path, empty_venv, "{venv}/.llama-ready", **links)
    assert done.returncode != 0
    assert "no C++\ncompiler" in done.stderr


def test_llama_cpp_is_built_anew_for_other_cmake_args_and_only_for_those(
    tmp_path: Path, empty_venv: Path
) -> None:
    write_source(tmp_path)
    links = {"PIP_FIND_LINKS": str(tmp_path), "CXX": "sh"}  # any program: nothing is compiled

    def built_for(**environ: str) -> str:
        done = make_without_compiler(
            tmp_path, empty_venv, "{venv}/.llama-ready", **links, **environ
        )
        assert done.returncode == 0, done.stderr
        [built] = (tmp_path / "venv").rglob("llama_cpp_built.txt")
        return built.read_text()

    assert built_for().startswith("None ")  # which pip keeps in its cache
    for_cuda = built_for(CMAKE_ARGS="-DGGML_CUDA=on")
    assert for_cuda.startswith("-DGGML_CUDA=on ")
    assert built_for(CMAKE_ARGS="-DGGML_CUDA=on") == for_cuda
    assert built_for() == for_cuda
    assert built_for(CMAKE_ARGS="-DGGML_VULKAN=on").startswith("-DGGML_VULKAN=on ")


def test_wheels_are_not_built_without_a_folder(tmp_path: Path, empty_venv: Path) -> None:
    done = make_without_compiler(tmp_path, empty_venv, "wheels")
    assert done.returncode != 0
    assert "make wheels DIR=FOLDER" in done.stderr


def test_the_manual_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-data"]["tui.manual"] == ["*.md"]


def test_the_demo_stays_small() -> None:
    weights = sum(file.stat().st_size for file in (ROOT / "modelfiles" / "demo").glob("*.gguf"))
    assert 0 < weights < 12e6
