"""An adapter is called untrained exactly where all its B factors are zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.untrained import is_untrained
from engine.errors import GgufError
from engine.gguf.header import read_header
from modelfiles.demo import ADAPTERS
from tests.support.gguf_raw import RawGguf
from tests.support.tiny_models import Dtype, write_adapter, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("untrained") / "base.gguf")


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_zeros_of_either_sign_are_zeros_in_every_type(
    tmp_path: Path, base: Path, dtype: Dtype
) -> None:
    # 0.0 times random numbers: about half of the zeros are negative.
    zero = write_adapter(tmp_path / "0.gguf", base, rank=32, scale_of_weights=0.0, dtype=dtype)
    assert is_untrained(read_header(zero))
    # The smallest weight that Q8_0's float16 block scales still hold is about 1e-5.
    small = write_adapter(tmp_path / "1.gguf", base, rank=32, scale_of_weights=1e-3, dtype=dtype)
    assert not is_untrained(read_header(small))


def test_one_number_in_the_last_b_is_enough(tmp_path: Path, base: Path) -> None:
    path = write_adapter(tmp_path / "adapter.gguf", base, scale_of_weights=0.0)
    raw = RawGguf.read(path)
    last = next(reversed(raw.tensors))
    weights = np.zeros(raw.tensors[last].shape[::-1], dtype=np.float32)
    weights[-1, -1] = 1e-30
    raw.replace_array(last, weights)
    raw.write(path)
    assert last.endswith(".lora_b")
    assert not is_untrained(read_header(path))


def test_the_demo_was_trained() -> None:
    assert not any(is_untrained(read_header(path)) for path in ADAPTERS.values())


def test_a_file_that_changed_since_is_not_judged(tmp_path: Path, base: Path) -> None:
    path = write_adapter(tmp_path / "adapter.gguf", base)
    header = read_header(path)
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(GgufError, match="changed"):
        is_untrained(header)
