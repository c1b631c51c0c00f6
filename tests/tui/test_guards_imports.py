"""The direction of imports between the wings, read from every module's source."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

WINGS = ("modelfiles", "engine", "tui")
PRODUCT = sorted(path.relative_to(ROOT) for wing in WINGS for path in (ROOT / wing).rglob("*.py"))

# Runs in a process of its own, which only an adapter that is no LoRA starts.
PEFT_PROCESS = Path("engine/adapters/foreign/peft/to_lora_child.py")
HEAVY = {"torch", "peft", "transformers", "safetensors", "tokenizers"}
ALLOWED_IN_MODELFILES = {"modelfiles", "msgspec", "jinja2", "platformdirs"}
ALLOWED_IN_ENGINE = {
    *ALLOWED_IN_MODELFILES,
    "engine",
    "gguf",
    "huggingface_hub",
    "llama_cpp",
    "numpy",
    "psutil",
}

OPENERS = {
    "engine.adapters.inspection.inspect.inspect",
    "engine.adapters.inspection.inspect.measured",
    "engine.adapters.inspection.overlap.overlaps",
    "engine.adapters.read",
    "engine.gguf.base_facts.read_base_facts",
    "engine.gguf.header",
    "engine.gguf.model_header",
    "engine.gguf.weights",
    "engine.hub.search.base_names.identity_of",
    "engine.hub.search.fit.fit_of",
    "engine.resolve.adapter.read_new_adapter",
    "engine.resolve.adapter.read_stack",
    "engine.resolve.hub_adapter.named_adapter",
    "engine.resolve.hub_adapter.pulled_for_rack",
    "engine.worker",
}
"""Modules and functions that open a model's file, or know which engine runs it."""


def imported(source: str) -> set[str]:
    """Return the dotted names a module imports, wherever in it, also for type checking only."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _is_import_function(node.func) and node.args:
            name = node.args[0]
            names.add(name.value if isinstance(name, ast.Constant) else "a computed name")
    return names


def _is_import_function(function: ast.expr) -> bool:
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return name in ("__import__", "import_module")


def packages(path: Path) -> set[str]:
    """Return the packages a module imports, without the standard library."""
    found = {name.split(".")[0] for name in imported((ROOT / path).read_text("utf-8"))}
    return found - set(sys.stdlib_module_names)


def test_the_reader_of_imports_sees_all_kinds() -> None:
    source = """
import a.b
def late():
    from c import d
    __import__("e")
    importlib.import_module("f.g")
if TYPE_CHECKING:
    import h as i
"""
    assert imported(source) == {"a.b", "c", "c.d", "e", "f.g", "h"}


def test_there_are_modules_in_every_wing() -> None:
    assert {path.parts[0] for path in PRODUCT} == set(WINGS)


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_a_wing_imports_only_what_it_may(path: Path) -> None:
    found = packages(path)
    if path == PEFT_PROCESS:
        found -= HEAVY
    if path.parts[0] == "modelfiles":
        assert found <= ALLOWED_IN_MODELFILES
    elif path.parts[0] == "engine":
        assert found <= ALLOWED_IN_ENGINE
    assert not found & HEAVY


ABOVE_THE_SEAM = [path for path in PRODUCT if path.is_relative_to("tui/chat")]
ABOVE_THE_SEAM += [Path("tui/commands/run/one_answer.py"), Path("tui/conversation.py")]


@pytest.mark.parametrize("path", ABOVE_THE_SEAM, ids=str)
def test_nothing_above_the_engines_seam_opens_a_model_file(path: Path) -> None:
    names = imported((ROOT / path).read_text("utf-8"))
    wholes = {name.rpartition(".")[0] for name in names}
    assert not (names | wholes) & OPENERS


def test_llama_cpp_is_imported_in_one_module() -> None:
    users = [path for path in PRODUCT if "llama_cpp" in packages(path)]
    assert users == [Path("engine/llama/library.py")]
