"""A base is looked for under the names that people train adapters on."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from engine.gguf.header import GgufHeader, read_header
from engine.hub.search.base_names import aliases, identity_of


def header(path: Path, **texts: str) -> GgufHeader:
    """Write a GGUF file with these metadata, `__` for the dots in a key, and read its header."""
    writer = gguf.GGUFWriter(path, "llama")
    parents = {key.split("__")[2] for key in texts if key.startswith("general__base_model__")}
    if parents:
        writer.add_uint32("general.base_model.count", len(parents))
    for key, text in texts.items():
        writer.add_string(key.replace("__", "."), text)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return read_header(path)


def test_the_usual_copies_of_a_repository_are_known() -> None:
    found = aliases("meta-llama/Llama-3.2-1B-Instruct")
    assert found[:3] == (
        "unsloth/Llama-3.2-1B-Instruct",
        "unsloth/Llama-3.2-1B-Instruct-bnb-4bit",
        "unsloth/Llama-3.2-1B-Instruct-unsloth-bnb-4bit",
    )
    assert "meta-llama/Llama-3.2-1B" in found
    assert "meta-llama/Llama-3.2-1B-Instruct" not in found


def test_a_plain_model_is_looked_for_as_its_instruct_version_too() -> None:
    assert "meta-llama/Llama-3.2-1B-Instruct" in aliases("meta-llama/Llama-3.2-1B")


@pytest.mark.parametrize(
    "copy", ["unsloth/gemma-2-2b-it-bnb-4bit", "unsloth/gemma-2-2b-it-unsloth-bnb-4bit"]
)
def test_a_four_bit_copy_leads_back_to_the_whole_one(copy: str) -> None:
    assert {"unsloth/gemma-2-2b-it", "unsloth/gemma-2-2b"} <= set(aliases(copy))


def test_the_parent_in_the_metadata_is_the_identity(tmp_path: Path) -> None:
    base = header(
        tmp_path / "base.gguf",
        general__name="Llama 3.2 1B Instruct",
        general__base_model__0__repo_url="https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct",
    )
    identity = identity_of(base)
    assert identity.name == "Llama 3.2 1B Instruct"
    assert identity.repositories[0] == "meta-llama/Llama-3.2-1B-Instruct"
    assert "unsloth/Llama-3.2-1B-Instruct-bnb-4bit" in identity.repositories


def test_a_finetune_named_beside_its_parent_comes_first(tmp_path: Path) -> None:
    base = header(
        tmp_path / "base.gguf",
        general__finetune="Instruct",
        general__base_model__0__repo_url="https://huggingface.co/meta-llama/Llama-3.2-1B",
    )
    assert identity_of(base).repositories[:2] == (
        "meta-llama/Llama-3.2-1B-Instruct",
        "meta-llama/Llama-3.2-1B",
    )


def test_a_quantised_repository_leads_to_the_original(tmp_path: Path) -> None:
    url = "https://huggingface.co/somebody/Mistral-7B-v0.1-GGUF"
    base = header(tmp_path / "base.gguf", general__repo_url=url)
    assert identity_of(base).repositories[0] == "somebody/Mistral-7B-v0.1"


@pytest.mark.parametrize("text", ["", "a/b/c", "https://example.org/a/b", "javascript:x", "../.."])
def test_what_is_no_repository_of_the_hub_is_passed_over(tmp_path: Path, text: str) -> None:
    base = header(tmp_path / "base.gguf", general__base_model__0__repo_url=text)
    assert identity_of(base).repositories == ()
    assert identity_of(base).name == "base"


def test_no_repository_is_named_twice(tmp_path: Path) -> None:
    url = "https://huggingface.co/Qwen/Qwen2.5-0.5B"
    base = header(
        tmp_path / "base.gguf",
        general__base_model__0__repo_url=url,
        general__source__repo_url=url + "/",
        general__repo_url=url.lower(),
    )
    found = [name.lower() for name in identity_of(base).repositories]
    assert len(found) == len(set(found)) > 4
