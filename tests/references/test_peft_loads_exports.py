"""PEFT loads the folders that stacks are written as, and computes with them what is due.

The stored logits are those of the same adapters before they went through GGUF; for the stack they
are llama.cpp's own.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.adapters.fusing.compress import write_compressed
from engine.adapters.peft_export.export import write_peft_folder
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import part_of
from engine.gguf.ggml_type import GgmlType
from engine.gguf.model_header import require_base
from tests.support.gguf_raw import RawGguf
from tests.support.stored_folders import write_gguf_of
from tests.support.tiny_models import write_adapter

HERE = Path(__file__).parent
ARCHITECTURES = HERE / "architectures"
NAMES = sorted(path.parent.name for path in ARCHITECTURES.glob("*/logits.npz"))
STACK = {"first": 0.7, "second": 0.4}


def export(stack: list[tuple[Path, float]], base: Path, out: Path, **options: Any) -> Path:
    parts = [part_of(read_adapter(path), scale) for path, scale in stack]
    write_peft_folder(parts, require_base(base), out, type_=GgmlType.F32, **options)
    return out


def loaded(model: Any, folder: Path) -> Any:
    """Return the model under the adapter of a folder; every weight of it must have its place."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # Of a tied model with an adapted embedding or head; nothing is merged here.
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        return peft.PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False).eval()


@pytest.mark.reference
@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_answers_as_before_it_was_gguf(name: str, tmp_path: Path) -> None:
    from tests.references.adapted_models import exact_targets, logits_of, random_model
    from tests.references.architecture_table import BY_NAME

    folder = ARCHITECTURES / name
    adapter = write_gguf_of(folder / "plain", folder / "base.gguf", tmp_path / "adapter.gguf")
    out = export([(adapter, 1.0)], folder / "base.gguf", tmp_path / "out")
    model = random_model(BY_NAME[name])
    # Of a shared expert PEFT has to be told to take the names as they are; the person is warned.
    names = exact_targets(model) if name in MISTAKEN_BY_PEFT else nullcontext()
    with np.load(folder / "logits.npz") as stored, names:
        found = logits_of(loaded(model, out), stored["tokens"])
        np.testing.assert_allclose(found, stored["plain"], rtol=0, atol=1e-4)
        assert np.abs(stored["plain"] - stored["base"]).max() > 0.05


@pytest.mark.reference
def test_an_adapted_embedding_answers_as_before(tmp_path: Path) -> None:
    from tests.references.adapted_models import logits_of, random_model
    from tests.references.architecture_table import BY_NAME

    folder = ARCHITECTURES / "llama"
    adapter = write_gguf_of(folder / "embedding", folder / "base.gguf", tmp_path / "adapter.gguf")
    out = export([(adapter, 1.0)], folder / "base.gguf", tmp_path / "out")
    with np.load(folder / "logits.npz") as stored:
        found = logits_of(loaded(random_model(BY_NAME["llama"]), out), stored["tokens"])
        np.testing.assert_allclose(found, stored["embedding"], rtol=0, atol=1e-4)


@pytest.mark.reference
def test_an_adapter_of_one_layer_alone_is_loaded_without_a_word(tmp_path: Path) -> None:
    from tests.references.make_references import random_model

    base = HERE / "data" / "base.gguf"
    adapter = write_adapter(tmp_path / "one.gguf", base, targets=["attn_q", "ffn_up"])
    raw = RawGguf.read(adapter)
    for half in ("a", "b"):
        del raw.tensors[f"blk.0.attn_q.weight.lora_{half}"]
    raw.write(adapter)
    out = export([(adapter, 1.0)], base, tmp_path / "out")
    ours = of_peft(loaded(random_model().double(), out))
    assert np.abs(ours - of_llama_cpp([(adapter, 1.0)], base)).max() < 1e-4


@pytest.mark.reference
@pytest.mark.parametrize("rank", [None, 3])
def test_a_stack_answers_as_in_llama_cpp(rank: int | None, tmp_path: Path) -> None:
    from tests.references.make_references import random_model
    from tests.support.merging import distance

    stack = [(HERE / "data" / f"{name}.gguf", scale) for name, scale in STACK.items()]
    base = HERE / "data" / "base.gguf"
    out = export(stack, base, tmp_path / "out", rank=rank)
    if rank is not None:  # the best of a rank is the same in either order of rows
        parts = [part_of(read_adapter(path), scale) for path, scale in stack]
        write_compressed(parts, tmp_path / "cut.gguf", rank, type_=GgmlType.F32)
        stack = [(tmp_path / "cut.gguf", 1.0)]
    theirs = of_llama_cpp(stack, base)
    assert distance(of_peft(loaded(random_model().double(), out)), theirs) < 1e-4
    assert distance(of_llama_cpp([], base), theirs) > 1.0


MISTAKEN_BY_PEFT = ("deepseek2", "qwen3next")
TOKENS = [72, 101, 108, 108, 111, 44, 32, 119]


def of_llama_cpp(stack: list[tuple[Path, float]], base: Path) -> Any:
    """Return the logits after every token, shape (n_tokens, n_vocab)."""
    from tests.support.merging import logits

    return logits(base, stack, TOKENS)


def of_peft(model: Any) -> Any:
    """Return the logits after every token, shape (n_tokens, n_vocab)."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([TOKENS])).logits[0].float().numpy()
