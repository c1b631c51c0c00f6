"""An adapter file becomes the record that stacks are made of; a base is told from an adapter."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from engine.adapters.read import adapter_name, read_adapter
from engine.errors import AdapterError, BaseError, GgufError
from engine.gguf.model_header import require_base
from tests.support.gguf_raw import RawGguf, text
from tests.support.tiny_models import Dtype, write_adapter, write_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


def test_the_record_holds_what_the_file_says(tmp_path: Path, base: Path) -> None:
    path = write_adapter(
        tmp_path / "x.gguf",
        base,
        rank=4,
        alpha=12.0,
        targets=["attn_q", "ffn_down"],
        name="My Pirate!",
        description="Talks like a pirate.",
    )
    adapter = read_adapter(path)
    assert adapter.name == "my-pirate"
    assert adapter.file == path
    assert adapter.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert adapter.architecture == "llama"
    assert adapter.alpha == 12.0
    assert adapter.rank_text == "4"
    assert adapter.n_targets == 4
    assert adapter.size_bytes == path.stat().st_size
    assert adapter.description == "Talks like a pirate."
    # Two layers: q is 64 x 64 and down is 128 x 64, at rank 4 in 4 bytes each.
    assert adapter.memory_bytes == 2 * (4 * (64 + 64) + 4 * (128 + 64)) * 4


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_memory_is_the_data_of_the_pairs(tmp_path: Path, base: Path, dtype: Dtype) -> None:
    path = write_adapter(tmp_path / "x.gguf", base, dtype=dtype)
    raw = RawGguf.read(path)
    expected = sum(len(tensor.data) for tensor in raw.tensors.values())
    raw.tensors["blk.0.attn_norm.weight"] = RawGguf.read(base).tensors["blk.0.attn_norm.weight"]
    assert read_adapter(raw.write(path)).memory_bytes == expected


def test_different_ranks_in_one_file_are_a_range(tmp_path: Path, base: Path) -> None:
    small = RawGguf.read(write_adapter(tmp_path / "s.gguf", base, rank=2, targets=["attn_q"]))
    large = RawGguf.read(write_adapter(tmp_path / "l.gguf", base, rank=16, targets=["token_embd"]))
    small.tensors |= large.tensors
    assert read_adapter(small.write(tmp_path / "x.gguf")).rank_text == "2-16"


def test_the_name_can_be_given(tmp_path: Path, base: Path) -> None:
    path = write_adapter(tmp_path / "x.gguf", base, name="From the file")
    assert read_adapter(path, "Given").name == "Given"


@pytest.mark.parametrize(
    ("title", "stem", "name"),
    [
        ("Pirate", "x", "pirate"),
        ("", "My Adapter (v2)", "my-adapter-v2"),
        ("Überschwang 1.5", "x", "überschwang-1.5"),
        ("\x1b[31mred\n", "x", "31mred"),
        ("?!", "x_y", "x_y"),
        ("?!", "!!", "adapter"),
        ("a" * 200, "x", "a" * 48),
    ],
)
def test_a_name_is_one_short_word(title: str, stem: str, name: str) -> None:
    assert adapter_name(title, Path(f"/somewhere/{stem}.gguf")) == name


def test_a_relative_path_becomes_absolute(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_adapter(tmp_path / "x.gguf", base)
    monkeypatch.chdir(tmp_path)
    assert read_adapter(Path("x.gguf")).file == path


def test_an_adapter_without_alpha_has_alpha_0(tmp_path: Path, base: Path) -> None:
    raw = RawGguf.read(write_adapter(tmp_path / "x.gguf", base))
    del raw.metadata["adapter.lora.alpha"]
    assert read_adapter(raw.write(tmp_path / "x.gguf")).alpha == 0.0


def test_a_base_given_as_adapter_is_named_so(base: Path) -> None:
    with pytest.raises(AdapterError, match="is a model, not a LoRA adapter"):
        read_adapter(base)


def test_an_adapter_given_as_base_is_named_so(tmp_path: Path, base: Path) -> None:
    assert require_base(base).architecture == "llama"
    with pytest.raises(BaseError, match="is an adapter, not a model"):
        require_base(write_adapter(tmp_path / "x.gguf", base))


def test_what_is_no_model_is_refused_as_base(tmp_path: Path, base: Path) -> None:
    raw = RawGguf.read(base)
    vocabulary = RawGguf(dict(raw.metadata))
    with pytest.raises(BaseError, match="holds no weights"):
        require_base(vocabulary.write(tmp_path / "vocabulary.gguf"))
    projector = RawGguf({**raw.metadata, "general.type": text("mmproj")}, raw.tensors)
    with pytest.raises(BaseError, match="vision or audio part of a model"):
        require_base(projector.write(tmp_path / "projector.gguf"))
    nameless = RawGguf({}, raw.tensors)
    with pytest.raises(BaseError, match="names no architecture"):
        require_base(nameless.write(tmp_path / "nameless.gguf"))
    with pytest.raises(GgufError, match="does not exist"):
        require_base(tmp_path / "absent.gguf")
