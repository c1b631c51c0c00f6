"""In llama.cpp a compressed stack answers as the stack, an extracted adapter as the tuned model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.check import require_fit
from engine.adapters.extraction.extract import extract
from engine.adapters.fusing.compress import write_compressed
from engine.gguf.ggml_type import GgmlType
from engine.gguf.model_header import require_base
from tests.engine.adapters.extraction.test_extract import changed
from tests.engine.adapters.fusing.test_fuse_against_llama import logits
from tests.support.dense_delta import deltas_of
from tests.support.merging import distance, parts_of
from tests.support.tiny_models import EXPERTS, LINEAR, Architecture, write_adapter, write_base

TARGETS = (*LINEAR, *EXPERTS, "token_embd")


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_a_stack_of_one_subspace_answers_the_same_at_its_rank(
    architecture: Architecture, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    one = write_adapter(tmp_path / "one.gguf", base, rank=3, targets=TARGETS)
    other = write_adapter(tmp_path / "other.gguf", base, rank=4, seed=2, targets=TARGETS)
    stack = [(one, 0.9), (other, 0.6), (one, -0.4)]
    parts = parts_of(stack)
    out = tmp_path / "out.gguf"
    modules = write_compressed(parts, out, 7, type_=GgmlType.F32)
    require_fit(out, base)
    assert {module.rank for module in modules} == {7}
    wanted = logits(base, [(one, 0.5), (other, 0.6)])
    assert distance(logits(base, [(out, 1.0)]), wanted) < 1e-4
    assert distance(logits(base, []), wanted) > 0.1


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_an_extracted_adapter_answers_as_the_tuned_model(
    architecture: Architecture, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture)
    adapter = write_adapter(tmp_path / "a.gguf", base, rank=4, targets=TARGETS)
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 0.7)]))
    out = tmp_path / "out.gguf"
    extract(require_base(tuned), require_base(base), out, 4, type_=GgmlType.F32)
    require_fit(out, base)
    wanted = logits(tuned, [])
    assert distance(logits(base, [(out, 1.0)]), wanted) < 1e-4
    assert distance(logits(base, []), wanted) > 0.1


def test_a_lower_rank_comes_closer_the_higher_it_is(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "a.gguf", base, rank=8)
    tuned = changed(base, tmp_path / "tuned.gguf", deltas_of([(adapter, 1.0)]))
    wanted = logits(tuned, [])
    errors = []
    for rank in (1, 4, 8):
        out = tmp_path / f"{rank}.gguf"
        extract(require_base(tuned), require_base(base), out, rank)
        errors.append(float(np.square(logits(base, [(out, 1.0)]) - wanted).mean()))
    assert errors[0] > errors[1] > 100 * errors[2]
