"""A fused adapter names its stack and the base that all of its adapters name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.fusing.stack_metadata import stack_metadata
from engine.adapters.peft_export.card import peft_card
from engine.adapters.read import read_adapter
from engine.gguf.header import GgufHeader, read_header
from engine.stack import AdapterStack, stack_of
from tests.support.gguf_raw import RawGguf, text
from tests.support.tiny_models import write_adapter, write_base

ADDRESS = "general.base_model.0.repo_url"


@pytest.fixture
def adapters(tmp_path: Path) -> list[Path]:
    base = write_base(tmp_path / "base.gguf")
    return [write_adapter(tmp_path / f"{n}.gguf", base, seed=i) for i, n in enumerate("xy")]


def named(path: Path, address: str) -> Path:
    raw = RawGguf.read(path)
    raw.metadata[ADDRESS] = text(address)
    return raw.write(path)


def stack(adapters: list[Path]) -> tuple[AdapterStack, list[GgufHeader]]:
    scaled = zip(adapters, (0.7, -1.0), strict=True)
    headers = [read_header(path) for path in adapters]
    return stack_of((read_adapter(path), scale) for path, scale in scaled), headers


def test_the_stack_is_named_with_its_scales(adapters: list[Path]) -> None:
    assert stack_metadata(*stack(adapters), None) == {
        "general.name": "x + y",
        "general.description": "Fused from x 0.70 + y -1.00.",
        "lora_tui.fused.names": ("x", "y"),
    }
    described = stack_metadata(*stack(adapters), 8)["general.description"]
    assert described == "Fused from x 0.70 + y -1.00, compressed to rank 8."


def test_the_base_is_named_where_all_agree_on_it(adapters: list[Path]) -> None:
    named(adapters[0], "https://huggingface.co/a/b")
    assert ADDRESS not in stack_metadata(*stack(adapters), None)
    named(adapters[1], "https://huggingface.co/a/b")
    metadata = stack_metadata(*stack(adapters), None)
    assert metadata[ADDRESS] == "https://huggingface.co/a/b"
    assert metadata["general.base_model.count"] == 1
    named(adapters[1], "https://huggingface.co/a/c")
    assert ADDRESS not in stack_metadata(*stack(adapters), None)


@pytest.mark.parametrize(("rank", "limit"), [(8, 8), (9, 16), (257, 320), (513, None)])
def test_the_card_says_the_rank_that_vllm_needs(
    rank: int, limit: int | None, adapters: list[Path]
) -> None:
    card = peft_card(stack(adapters)[0], "org/base", rank, 1.0)
    command = f"vllm serve org/base --enable-lora --max-lora-rank {limit} "
    assert (command in card) == (limit is not None)
    assert "keeps" not in card


def test_the_card_says_what_is_kept(adapters: list[Path]) -> None:
    card = peft_card(stack(adapters)[0], "", 8, 0.876)
    assert "It keeps 87.6% of what they change together" in card
    assert "base_model:" not in card
    assert "- x at scale 0.7\n- y at scale -1\n" in card
