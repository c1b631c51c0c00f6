"""Every rule of an adapter is found broken where it is, named, and nothing else with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.adapters.checking.check import check, check_headers, require_fit
from engine.adapters.checking.rules import Rule
from engine.errors import AdapterError, BaseError, GgufError
from engine.gguf.header import read_header
from engine.gguf.model_header import require_base
from tests.engine.adapters.broken_adapters import ALPHA, CASES, Q, lacks, says, zeros
from tests.support.gguf_raw import RawGguf, RawTensor, RawValue, text
from tests.support.tiny_models import Architecture, Dtype, write_adapter, write_base

KINDS: list[tuple[Architecture, bool]] = [
    ("llama", False),
    ("llama", True),
    ("qwen2", False),
    ("gemma", True),
    ("mixtral", False),
]


@pytest.mark.parametrize("name", CASES)
def test_a_broken_rule_is_found_and_no_other(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    base, adapter = case.write(tmp_path)
    broken = check(read_header(adapter), require_base(base))
    assert {found.rule for found in broken} == case.rules
    for found in broken:
        assert str(base) not in found.reason
        assert found.reason.endswith(".")
        assert found.reason.isprintable()
    with pytest.raises(AdapterError) as caught:
        require_fit(adapter, base)
    assert caught.value.subject == adapter
    assert str(caught.value).startswith(f"{adapter} {broken[0].reason}")


def test_every_rule_has_a_case() -> None:
    assert {rule for case in CASES.values() for rule in case.rules} == set(Rule)


@pytest.mark.parametrize(("architecture", "is_tied"), KINDS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_a_sound_adapter_breaks_no_rule(
    tmp_path: Path, architecture: Architecture, is_tied: bool, dtype: Dtype
) -> None:
    base = write_base(tmp_path / "base.gguf", architecture=architecture, is_tied=is_tied)
    adapter = write_adapter(tmp_path / "adapter.gguf", base, dtype=dtype, rank=3)
    assert check(read_header(adapter), require_base(base)) == ()
    require_fit(adapter, base)


def test_embeddings_and_output_of_an_untied_base_may_be_adapted(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "adapter.gguf", base, targets=["token_embd", "output"])
    assert check(read_header(adapter), require_base(base)) == ()


def test_what_llama_cpp_takes_is_not_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base)
    raw = RawGguf.read(path)
    del raw.metadata[ALPHA]
    raw.tensors["blk.0.attn_norm.weight"] = zeros(64)
    raw.tensors[f"{Q}.lora_a"] = RawTensor((64,), 0, bytes(256))
    raw.tensors[f"{Q}.lora_b"] = zeros(64, 1)
    assert check(read_header(raw.write(path)), require_base(base)) == ()


def test_all_broken_rules_are_found_together(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base)
    raw = RawGguf.read(path)
    says(ALPHA, text("8"))(raw)
    says("general.architecture", text("gemma"))(raw)
    lacks(f"{Q}.lora_b")(raw)
    raw.tensors["blk.1.attn_q.weight.lora_b"] = zeros(32, 4)
    raw.replace_array("blk.1.attn_k.weight.lora_a", np.full((4, 64), np.nan, dtype=np.float32))
    found = check(read_header(raw.write(path)), require_base(base))
    assert [broken.rule for broken in found] == [
        Rule.ALPHA_TYPE,
        Rule.MISSING_HALF,
        Rule.ARCHITECTURE,
        Rule.DIMENSION,
        Rule.NOT_FINITE,
    ]
    with pytest.raises(AdapterError, match=r"4 more of its rules are broken"):
        require_fit(path, base)


def test_the_number_of_broken_tensors_is_said_once(tmp_path: Path) -> None:
    other = write_base(tmp_path / "other.gguf", n_layer=4)
    adapter = write_adapter(tmp_path / "adapter.gguf", other, targets=["attn_q", "attn_v"])
    base = write_base(tmp_path / "base.gguf", n_layer=2)
    (broken,) = check_headers(read_header(adapter), require_base(base))
    assert broken.rule is Rule.ABSENT
    assert "changes 4 tensors, the first 'blk.2.attn_q.weight', absent" in broken.reason


def test_weights_past_the_first_chunk_are_looked_at(tmp_path: Path) -> None:
    """A token embedding of 70,000 x 64 at rank 4 has 280,000 numbers in A, over one chunk."""
    base = write_base(tmp_path / "base.gguf")
    big_base = RawGguf.read(base)
    big_base.tensors["token_embd.weight"] = RawTensor((64, 70_000), 1, bytes(64 * 70_000 * 2))
    a = np.zeros((70_000, 4), dtype=np.float32)
    path = write_adapter(tmp_path / "adapter.gguf", base)
    raw = RawGguf.read(path)
    raw.tensors["token_embd.weight.lora_b"] = zeros(64, 4)
    raw.replace_array("token_embd.weight.lora_a", a)
    header = require_base(big_base.write(base))
    assert check(read_header(raw.write(path)), header) == ()
    a[-1, -1] = np.nan
    raw.replace_array("token_embd.weight.lora_a", a)
    (broken,) = check(read_header(raw.write(path)), header)
    assert broken.rule is Rule.NOT_FINITE
    assert "token_embd.weight.lora_a" in broken.reason


def test_an_adapter_that_changed_since_its_header_was_read_is_refused(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base)
    header = read_header(path)
    os.truncate(path, path.stat().st_size - 64)
    with pytest.raises(GgufError, match="changed while being read"):
        check(header, require_base(base))


def test_a_base_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    adapter = write_adapter(tmp_path / "adapter.gguf", base)
    with pytest.raises(AdapterError, match="is a model, not a LoRA adapter"):
        require_fit(base, base)
    with pytest.raises(BaseError, match="is an adapter, not a model"):
        require_fit(adapter, adapter)


def test_text_of_the_file_reaches_a_message_escaped_and_short(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = write_adapter(tmp_path / "adapter.gguf", base)
    raw = RawGguf.read(path)
    raw.metadata["general.architecture"] = RawValue(
        raw.metadata["general.architecture"].type, "\x1b[2J" + "a" * 10_000
    )
    (broken,) = check(read_header(raw.write(path)), require_base(base))
    assert broken.rule is Rule.ARCHITECTURE
    assert "\x1b" not in broken.reason
    assert len(broken.reason) < 200
