"""A fused adapter holds the very sum of the stack's deltas, by numpy in float64."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.adapters.checking.check import check, require_fit
from engine.adapters.fusing.file import FUSED_VERSION, VERSION_KEY, fused_stack, is_intact
from engine.adapters.fusing.fuse import fuse, fused_size_bytes
from engine.adapters.fusing.plan import BType
from engine.adapters.read import read_adapter
from engine.errors import AdapterError, Cancelled, EngineError, GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import read_header
from engine.stack import to_float32
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.gguf_raw import RawGguf
from tests.support.merging import Stack, parts_of
from tests.support.tiny_models import Architecture, Dtype, write_adapter, write_base


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[Architecture, Path]:
    folder = tmp_path_factory.mktemp("bases")
    kinds: tuple[Architecture, ...] = ("llama", "mixtral")
    return {kind: write_base(folder / f"{kind}.gguf", architecture=kind) for kind in kinds}


@pytest.fixture
def base(bases: dict[Architecture, Path]) -> Path:
    return bases["llama"]


@pytest.fixture
def stack(base: Path, tmp_path: Path) -> Stack:
    """Three adapters of different rank, alpha, type and targets, one with a negative scale."""
    first = write_adapter(tmp_path / "1.gguf", base, rank=4, seed=1)
    second = write_adapter(
        tmp_path / "2.gguf", base, rank=8, alpha=4.0, seed=2, targets=["attn_q", "token_embd"]
    )
    third = write_adapter(tmp_path / "3.gguf", base, rank=3, seed=3, targets=["ffn_up", "attn_q"])
    return [(first, 0.7), (second, -1.3), (third, 0.4)]


def relative_error(fused: Path, stack: Stack) -> float:
    """Return the largest error of a delta, relative to the largest value of that delta."""
    expected = deltas_of([(path, to_float32(scale)) for path, scale in stack])
    found = deltas_of([(fused, 1.0)])
    assert found.keys() == expected.keys()
    return max(
        float(np.abs(found[name] - delta).max() / max(np.abs(delta).max(), 1e-30))
        for name, delta in expected.items()
    )


def test_a_stack_of_different_ranks_and_targets_adds_up(stack: Stack, tmp_path: Path) -> None:
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    # B is rounded once to float32, 2**-24, and ranks 15 products are summed.
    assert relative_error(out, stack) < 2e-7
    shapes = {name: tensor.shape for name, tensor in tensors_of(out).items()}
    assert shapes["blk.0.attn_q.weight.lora_a"] == (4 + 8 + 3, 64)
    assert shapes["blk.0.attn_v.weight.lora_b"] == (32, 4)
    assert shapes["token_embd.weight.lora_b"] == (64, 8)


def test_b_in_f16_is_rounded_once(stack: Stack, tmp_path: Path) -> None:
    out = fuse(parts_of(stack), tmp_path / "fused.gguf").path
    assert 1e-5 < relative_error(out, stack) < 2**-10
    factors = {path: to_float32(scale) for path, scale in stack}
    first, second, third = factors
    name = "blk.1.attn_q.weight.lora_b"
    columns = np.concatenate(
        [
            tensors_of(first)[name] * factors[first] * 8 / 4,
            tensors_of(second)[name] * factors[second] * 4 / 8,
            tensors_of(third)[name] * factors[third] * 8 / 3,
        ],
        axis=1,
    )
    assert np.array_equal(tensors_of(out)[name], columns.astype(np.float16).astype(np.float64))


@pytest.mark.parametrize("b_type", [GgmlType.F16, GgmlType.F32])
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_every_type_and_experts_add_up(
    bases: dict[Architecture, Path],
    tmp_path: Path,
    kind: Architecture,
    dtype: Dtype,
    b_type: BType,
) -> None:
    base = bases[kind]
    stack = [
        (write_adapter(tmp_path / f"{seed}.gguf", base, rank=rank, seed=seed, dtype=dtype), scale)
        for seed, rank, scale in ((1, 32, 0.5), (2, 4, -0.25), (3, 64, 1.5))
    ]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=b_type).path
    assert relative_error(out, stack) < (2e-7 if b_type is GgmlType.F32 else 2**-10)
    # A is bytes of the adapters: no rounding at all.
    types = {t.type for n, t in read_header(out).tensors.items() if n.endswith(".lora_a")}
    assert types == {GgmlType[dtype.upper()]}


@pytest.mark.parametrize("kind", ["llama", "mixtral"])
def test_mixed_types_widen_a_to_f32(
    bases: dict[Architecture, Path], tmp_path: Path, kind: Architecture
) -> None:
    dtypes: tuple[Dtype, ...] = ("f16", "q8_0", "bf16", "f32")
    stack = [
        (write_adapter(tmp_path / f"{d}.gguf", bases[kind], seed=i, rank=32, dtype=d), 0.3 + i)
        for i, d in enumerate(dtypes)
    ]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    assert relative_error(out, stack) < 2e-7
    assert {t.type for t in read_header(out).tensors.values()} == {GgmlType.F32}


def test_types_mixed_at_one_scale_are_not_taken_for_each_other(base: Path, tmp_path: Path) -> None:
    dtypes: tuple[Dtype, ...] = ("bf16", "f16")
    stack = [
        (write_adapter(tmp_path / f"{d}.gguf", base, seed=i, dtype=d), 0.5)
        for i, d in enumerate(dtypes)
    ]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf").path
    assert relative_error(out, stack) < 2**-10


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_embeddings_stored_transposed_add_up(base: Path, tmp_path: Path, dtype: Dtype) -> None:
    stack = [
        (
            write_adapter(
                tmp_path / f"{seed}.gguf",
                base,
                rank=rank,
                seed=seed,
                targets=["token_embd"],
                dtype=dtype,
            ),
            0.6,
        )
        for seed, rank in ((1, 32), (2, 64))
    ]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    assert relative_error(out, stack) < 2e-7
    assert tensors_of(out)["token_embd.weight.lora_a"].shape[1] == 96


def test_embeddings_of_mixed_types_add_up(base: Path, tmp_path: Path) -> None:
    dtypes: tuple[Dtype, ...] = ("q8_0", "f16", "bf16")
    stack = [
        (
            write_adapter(
                tmp_path / f"{dtype}.gguf",
                base,
                rank=rank,
                targets=["token_embd"],
                dtype=dtype,
            ),
            0.6,
        )
        for rank, dtype in zip((32, 4, 8), dtypes, strict=True)
    ]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    assert relative_error(out, stack) < 2e-7


def test_without_alpha_the_scale_alone_counts(base: Path, tmp_path: Path) -> None:
    zero = write_adapter(tmp_path / "zero.gguf", base, alpha=0.0)
    none = write_adapter(tmp_path / "none.gguf", base, seed=2)
    raw = RawGguf.read(none)
    del raw.metadata["adapter.lora.alpha"]
    raw.write(none)
    stack = [(zero, 0.5), (none, 0.25)]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    assert relative_error(out, stack) < 2e-7


def test_one_content_given_twice_counts_twice(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base)
    stack = [(path, 0.5), (path, 0.75)]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", b_type=GgmlType.F32).path
    assert relative_error(out, stack) < 2e-7


def test_norms_that_llama_cpp_ignores_are_left_out(base: Path, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.gguf", base)
    raw = RawGguf.read(path)
    raw.replace_array("blk.0.attn_norm.weight", np.ones(64, dtype=np.float32))
    raw.write(path)
    out = fuse(parts_of([(path, 1.0)]), tmp_path / "fused.gguf").path
    assert not any("norm" in name for name in read_header(out).tensors)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize(
    "scale", [1e7, 1e-6, 1e-12], ids=["overflow", "subnormal", "underflow to 0"]
)
def test_what_f16_cannot_hold_becomes_f32_for_that_tensor_alone(
    base: Path, tmp_path: Path, dtype: Dtype, scale: float
) -> None:
    wide = write_adapter(tmp_path / "w.gguf", base, targets=["attn_q"], dtype=dtype)
    usual = write_adapter(tmp_path / "u.gguf", base, targets=["attn_k"], dtype=dtype)
    stack = [(wide, scale), (usual, 1.0)]
    out = fuse(parts_of(stack), tmp_path / "fused.gguf").path
    types = {name: tensor.type for name, tensor in read_header(out).tensors.items()}
    assert types["blk.0.attn_q.weight.lora_b"] is GgmlType.F32
    assert types["blk.0.attn_k.weight.lora_b"] is GgmlType.F16
    assert is_intact(out)
    assert relative_error(out, stack) < 2**-10


def test_an_untrained_b_of_zeros_stays_f16(base: Path, tmp_path: Path) -> None:
    paths = [write_adapter(tmp_path / f"{n}.gguf", base, seed=n) for n in (1, 2)]
    raw = RawGguf.read(paths[0])
    for name, tensor in raw.tensors.items():
        if name.endswith("lora_b"):
            raw.tensors[name] = replace(tensor, data=bytes(len(tensor.data)))
    raw.write(paths[0])
    out = fuse(parts_of([(path, 1.0) for path in paths]), tmp_path / "fused.gguf").path
    b_types = {t.type for n, t in read_header(out).tensors.items() if n.endswith("lora_b")}
    assert b_types == {GgmlType.F16}


def test_a_large_tensor_is_folded_in_many_chunks(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(stack)
    whole = fuse(parts, tmp_path / "whole.gguf").path.read_bytes()
    monkeypatch.setattr("engine.adapters.fusing.fuse.CHUNK_VALUES", 100)
    assert fuse(parts, tmp_path / "chunks.gguf").path.read_bytes() == whole


def test_equal_input_gives_equal_bytes_of_the_size_foretold(stack: Stack, tmp_path: Path) -> None:
    parts = parts_of(stack)
    first, again = fuse(parts, tmp_path / "1st"), fuse(parts, tmp_path / "2nd")
    assert first.path.read_bytes() == again.path.read_bytes()
    assert first.size_bytes == first.path.stat().st_size == fused_size_bytes(parts)


def test_the_file_conforms_and_says_what_it_was_fused_of(
    stack: Stack, base: Path, tmp_path: Path
) -> None:
    parts = [*parts_of(stack), replace(parts_of(stack)[0], scale=0.0)]
    out = fuse(parts, tmp_path / "fused.gguf", texts={"general.name": "Three"}).path
    header = read_header(out)
    require_fit(out, base)
    assert check(header, read_header(base)) == ()
    assert read_adapter(out).alpha == 0.0
    assert read_adapter(out).name == "three"
    assert fused_stack(header) == tuple((p.sha256, to_float32(p.scale)) for p in parts[:3])
    assert fused_stack(read_header(stack[0][0])) is None
    names = [name.rsplit(".", 1)[1] for name in header.tensors]
    assert names == sorted(names)  # every A before every B
    assert [t.name for t in gguf.GGUFReader(out).tensors] == list(header.tensors)


def spoil(path: Path, suffix: str) -> None:
    """Overwrite the data of an adapter's tensors, leaving size and time of modification."""
    status = path.stat()
    with path.open("r+b") as file:
        for tensor in read_header(path).tensors.values():
            if tensor.name.endswith(suffix):
                file.seek(tensor.offset)
                file.write(b"\x3c" * tensor.size_bytes)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_whole_numbers_are_metadata_too(stack: Stack, tmp_path: Path) -> None:
    out = fuse(parts_of(stack), tmp_path / "fused.gguf", texts={"general.base_model.count": 1}).path
    assert read_header(out).integer("general.base_model.count") == 1
    assert is_intact(out)


def test_progress_is_told_tensor_by_tensor(stack: Stack, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    out = fuse(
        parts_of(stack),
        tmp_path / "fused.gguf",
        on_progress=lambda name, fraction: told.append((name, fraction)),
    ).path
    assert [name for name, _ in told] == list(read_header(out).tensors)
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] < 1.0


def test_a_rescale_copies_a_and_computes_b_anew(stack: Stack, tmp_path: Path) -> None:
    parts = parts_of(stack)
    before = fuse(parts, tmp_path / "before.gguf").path
    rescaled = [replace(part, scale=part.scale * -0.5) for part in parts]
    expected = fuse(rescaled, tmp_path / "expected.gguf").path.read_bytes()
    for path, _ in stack:
        spoil(path, "lora_a")
    done = fuse(rescaled, tmp_path / "after.gguf", previous=before)
    # The adapters' A is spoilt, so nothing but the earlier file can have given these bytes.
    assert done.is_a_copied
    assert done.path.read_bytes() == expected
    assert fuse(rescaled, tmp_path / "spoilt.gguf").path.read_bytes() != expected
    for path, _ in stack:
        spoil(path, "lora_b")
    done = fuse(rescaled, tmp_path / "after.gguf", previous=before)
    assert done.path.read_bytes() != expected


def test_an_earlier_file_of_no_use_is_ignored(stack: Stack, base: Path, tmp_path: Path) -> None:
    parts = parts_of(stack)
    expected = fuse(parts, tmp_path / "expected.gguf").path.read_bytes()
    other_order = fuse(parts[::-1], tmp_path / "order.gguf").path
    fewer = fuse(parts[:2], tmp_path / "fewer.gguf").path
    other = write_adapter(tmp_path / "other.gguf", base, rank=4, seed=7)
    other_content = fuse([*parts_of([(other, 0.7)]), *parts[1:]], tmp_path / "content.gguf").path
    damaged = fuse(parts, tmp_path / "damaged.gguf").path
    data = bytearray(expected)
    data[read_header(damaged).data_offset + 5] ^= 1
    damaged.write_bytes(data)
    old = tmp_path / "old.gguf"
    at = expected.index(VERSION_KEY.encode()) + len(VERSION_KEY) + 4
    old.write_bytes(expected[:at] + struct.pack("<I", FUSED_VERSION + 1) + expected[at + 4 :])
    absent = tmp_path / "absent.gguf"
    for previous in (other_order, fewer, other_content, damaged, old, stack[0][0], absent):
        done = fuse(parts, tmp_path / "out.gguf", previous=previous)
        assert not done.is_a_copied, previous
        assert done.path.read_bytes() == expected


def test_any_changed_byte_is_noticed(stack: Stack, tmp_path: Path) -> None:
    out = fuse(parts_of(stack), tmp_path / "fused.gguf").path
    assert is_intact(out)
    data = out.read_bytes()
    header = read_header(out)
    name = data.index(b"adapter.lora.alpha")
    places = [name + len("adapter.lora.alpha") + 6, header.data_offset + 7, len(data) - 33]
    places += list(range(40, len(data), len(data) // 40))
    for place in places:
        out.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert not is_intact(out), place
    for damaged in (data[:-1], data[: len(data) // 2], data + b"\0", b"", b"GGUF"):
        out.write_bytes(damaged)
        assert not is_intact(out)
    assert not is_intact(stack[0][0])
    assert not is_intact(tmp_path / "absent.gguf")


def test_cancelling_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    parts = parts_of(stack)
    files = sorted(tmp_path.iterdir())
    for n_asked in (0, 3, 20):
        answers = iter([False] * n_asked + [True])
        with pytest.raises(Cancelled):
            fuse(parts, tmp_path / "fused.gguf", is_cancelled=lambda a=answers: next(a))  # type: ignore[misc]  # a lambda's default has no type
        assert sorted(tmp_path.iterdir()) == files


def test_an_adapter_changed_meanwhile_is_refused_and_leaves_nothing(
    stack: Stack, base: Path, tmp_path: Path
) -> None:
    parts = parts_of(stack)
    asked = 0

    def change() -> bool:
        nonlocal asked
        asked += 1
        if asked == 20:
            os.utime(stack[1][0], ns=(0, 0))
        return False

    with pytest.raises(GgufError, match="changed"):
        fuse(parts, tmp_path / "fused.gguf", is_cancelled=change)
    assert asked > 20
    assert not (tmp_path / "fused.gguf").exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_is_an_error_in_words_and_leaves_nothing(stack: Stack, tmp_path: Path) -> None:
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from engine.adapters.fusing.fuse import fuse\n"
        "from engine.adapters.scaled_adapter import part_of\n"
        "from engine.adapters.read import read_adapter\n"
        "from engine.errors import EngineError\n"
        "out, *paths = map(Path, sys.argv[1:])\n"
        "parts = [part_of(read_adapter(path), 1.0) for path in paths]\n"
        # No file may grow beyond 20,000 bytes: writing fails in the middle, as on a full disk.
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    fuse(parts, out)\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    out = tmp_path / "fused.gguf"
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), *(str(path) for path, _ in stack)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"The fused adapter {out} cannot be written: File too large" in done.stdout
    assert not list(tmp_path.glob("*fused*"))


def test_what_does_not_go_together_is_refused(stack: Stack, base: Path, tmp_path: Path) -> None:
    parts = parts_of(stack)
    with pytest.raises(AdapterError, match="nothing to fuse"):
        fuse([replace(part, scale=0.0) for part in parts], tmp_path / "out.gguf")
    other = write_base(tmp_path / "qwen.gguf", architecture="qwen2")
    strange = write_adapter(tmp_path / "strange.gguf", other)
    with pytest.raises(AdapterError, match="architecture 'qwen2'"):
        fuse([*parts, *parts_of([(strange, 1.0)])], tmp_path / "out.gguf")
    raw = RawGguf.read(stack[0][0])
    raw.replace_array("blk.0.attn_q.weight.lora_a", np.ones((4, 32), dtype=np.float32))
    narrow = raw.write(tmp_path / "narrow.gguf")
    with pytest.raises(AdapterError, match="another size"):
        fuse([*parts, *parts_of([(narrow, 1.0)])], tmp_path / "out.gguf")
    with pytest.raises(EngineError, match="cannot be written"):
        fuse(parts, tmp_path / "no folder" / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()
