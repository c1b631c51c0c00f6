"""Converted adapters of further architectures add what PEFT's merge adds, row by row.

The references (tests/references/make_more_architectures.py) come from llama.cpp's conversion of
whole models before and after PEFT merged the adapter; nothing of them is run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.conversion.convert import convert
from tests.support.dense_delta import deltas_of
from tests.support.more_references import STORED, written
from tests.support.sketches import sketch

N_ARCHITECTURES = 60
TOLERANCE = 1e-5


def test_there_are_as_many_as_were_made() -> None:
    assert len(STORED) == N_ARCHITECTURES


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_delta_is_where_the_merge_puts_it(path: Path, tmp_path: Path) -> None:
    further = written(path, tmp_path)
    out = tmp_path / "out.gguf"
    made = convert(further.adapter, further.base, out, out_type="f32", config=further.config)
    assert len(made.dropped) == further.n_in_tower
    deltas = deltas_of([(out, 1.0)])
    expected = {f"{name}.{side}" for name in deltas for side in ("rows", "columns")}
    assert expected == set(further.sketches)
    for name, delta in deltas.items():
        for side, computed in zip(("rows", "columns"), sketch(delta), strict=True):
            sketched = further.sketches[f"{name}.{side}"]
            assert np.abs(sketched).max() > 100 * TOLERANCE
            np.testing.assert_allclose(computed, sketched, rtol=0, atol=TOLERANCE)
