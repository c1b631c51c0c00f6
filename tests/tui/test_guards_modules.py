"""What a fresh process has loaded after a command: quick commands stay quick, wings apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import run_python, run_tui, write_model_files

# The command's own exit code, then every module that it loaded, as the last line of stderr.
PROGRAM = """
import json, sys
from tui.cli import main
code = main(sys.argv[1:])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""
NEVER = {"textual", "torch", "peft", "transformers", "llama_cpp"}
SLOW = {"asyncio", "numpy", "gguf", "huggingface_hub", "rich", "jinja2"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model's files, and a home in it that knows the model as `tiny`."""
    folder = tmp_path_factory.mktemp("guards")
    write_model_files(folder)
    created = run_tui("create", "tiny", home=folder / "home", folder=folder)
    assert created.code == 0, created.err
    return folder


def loaded(place: Path, *arguments: str, stdin: str = "") -> set[str]:
    """Return the top-level modules that `tui` with these arguments leaves loaded."""
    home = place / "home"
    ended = run_python("-c", PROGRAM, *arguments, home=home, folder=place, stdin=stdin)
    assert ended.code == 0, ended.err
    return set(json.loads(ended.err.splitlines()[-1]))


def test_the_help_loads_nothing_of_what_commands_work_with(place: Path) -> None:
    modules = loaded(place, "--help")
    assert not modules & (NEVER | SLOW | {"msgspec"})


@pytest.mark.parametrize("arguments", ["list", "list --adapters", "show tiny", "cp tiny other"])
def test_a_quick_command_loads_no_engine_and_no_screen(arguments: str, place: Path) -> None:
    modules = loaded(place, *arguments.split())
    assert "tui" in modules
    assert not modules & (NEVER | SLOW)


def test_create_checks_its_files_without_an_engine(place: Path) -> None:
    modules = loaded(place, "create", "again")
    # They look at the adapters' weights, and render the base's own template.
    needed = {"numpy", "jinja2"}
    assert needed <= modules
    assert not modules & (NEVER | (SLOW - needed))


def test_a_piped_run_loads_no_screen_and_leaves_llama_cpp_to_the_worker(place: Path) -> None:
    modules = loaded(place, "run", "tiny", "Hello", stdin="text")
    assert "engine" in modules
    assert not modules & NEVER
