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


def test_llama_cpp_is_imported_in_one_module() -> None:
    users = [path for path in PRODUCT if "llama_cpp" in packages(path)]
    assert users == [Path("engine/llama/library.py")]
