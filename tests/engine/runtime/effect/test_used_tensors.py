"""What is said of an adapter's use is what llama.cpp's graph does, or nothing is said."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from engine.adapters.checking.ignored_tensors import unused_targets
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base
from engine.llama import trace
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from engine.runtime.effect.used_tensors import Usage, usage_of
from modelfiles.demo import ADAPTERS, BASE
from tests.engine.conftest import Tiny
from tests.support.tiny_latent import write_latent_base
from tests.support.tiny_mamba import write_mamba_base
from tests.support.tiny_models import write_adapter, write_base

PLAIN = ("llama", "mixtral", "qwen2", "gemma")
LATENT = ("deepseek2", "plm")


def write_any_base(path: Path, architecture: str) -> Path:
    if architecture in LATENT:
        return write_latent_base(path, architecture)
    if architecture == "mamba":
        return write_mamba_base(path)
    return write_base(path, architecture=architecture)


def write_adapter_of_everything(path: Path, base: Path) -> GgufHeader:
    """Write an adapter on every matrix of the base that a pair may stand for."""
    tensors = require_base(base).tensors
    matrices = {name for name, tensor in tensors.items() if len(tensor.shape) > 1}
    matrices = {name for name in matrices if name.endswith(".weight")}
    if "output.weight" not in tensors:
        matrices.remove("token_embd.weight")  # refused: the output shares its weights
    targets = sorted({re.sub(r"^blk\.\d+\.|\.weight$", "", name) for name in matrices})
    return read_header(write_adapter(path, base, targets=targets))


def usage(base: Path, header: GgufHeader) -> Usage | None:
    with Model(base, n_gpu_layers=0) as model, LoraAdapter(model, header.path) as adapter:
        return usage_of(model, adapter, header, n_threads=1)


@pytest.mark.parametrize("architecture", [*PLAIN, *LATENT])
def test_the_graph_uses_what_the_table_of_notices_says(tmp_path: Path, architecture: str) -> None:
    base = write_any_base(tmp_path / "base.gguf", architecture)
    header = write_adapter_of_everything(tmp_path / "adapter.gguf", base)
    found = usage(base, header)
    assert found is not None
    assert found.unused == unused_targets(header, require_base(base))
    assert found.n_used + len(found.unused) == found.n_tensors == len(header.tensors) // 2
    assert bool(found.unused) == (architecture in LATENT)
    assert found.n_used > 0


def test_of_a_recurrent_model_only_the_convolution_is_not_multiplied(tmp_path: Path) -> None:
    base = write_any_base(tmp_path / "base.gguf", "mamba")
    header = write_adapter_of_everything(tmp_path / "adapter.gguf", base)
    found = usage(base, header)
    assert found is not None
    assert found.unused == ("blk.0.ssm_conv1d.weight", "blk.1.ssm_conv1d.weight")


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_every_tensor_of_the_demo_is_used(name: str) -> None:
    assert usage(BASE, read_header(ADAPTERS[name])) == Usage(42, 42, ())


def test_the_conversation_goes_on_as_if_nothing_had_been_looked_at(tiny: Tiny) -> None:
    with Model(tiny.base) as model, LoraAdapter(model, tiny.first.file) as adapter:
        context, other = (Context(model, n_ctx=64, n_batch=64, n_threads=1) for _ in range(2))
        context.decode([1, 2, 3])
        other.decode([1, 2, 3])
        usage_of(model, adapter, read_header(tiny.first.file), n_threads=1)
        context.decode([4])
        other.decode([4])
        assert (context.logits() == other.logits()).all()


def layout(change: str) -> type[ctypes.Structure]:
    """Return the layout of a tensor with two members swapped, or with one more before another."""
    fields = [(name, kind) for name, kind, *_ in trace._Tensor._fields_]
    names = [name for name, _ in fields]
    first, _, second = change.partition(" and ")
    if second:
        i, j = names.index(first), names.index(second)
        fields[i], fields[j] = fields[j], fields[i]
    else:
        i = names.index(first.removeprefix("more before "))
        fields.insert(i, ("more", ctypes.c_int64))
    return type("Other", (ctypes.Structure,), {"_fields_": fields})


@pytest.mark.parametrize(
    "change",
    ["more before src", "more before padding", "src and view_src", "nb and src", "name and extra"],
)
def test_of_tensors_with_another_layout_nothing_is_said(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(trace, "_Tensor", layout(change))
    assert usage(tiny.base, read_header(tiny.first.file)) is None


def test_without_the_functions_of_ggml_nothing_is_said(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace.lc, "_lib", object())
    with Model(tiny.base) as model, LoraAdapter(model, tiny.first.file) as adapter:
        assert trace.traced_names(model, adapter, n_threads=1) is None


def test_a_name_that_cannot_be_read_leaves_nothing_said_and_no_trace_in_the_log(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ggml = trace._Ggml.of_llama()
    assert ggml is not None
    has_layout = ggml.has_known_layout()

    def refuse(_tensor: int) -> int:
        raise OSError("It cannot be read.")

    ggml.get_name = refuse
    monkeypatch.setattr(ggml, "has_known_layout", lambda: has_layout, raising=False)
    monkeypatch.setattr(trace._Ggml, "of_llama", lambda: ggml)
    assert has_layout
    assert usage(tiny.base, read_header(tiny.first.file)) is None
    assert capfd.readouterr() == ("", "")


def test_a_tensor_copied_to_another_device_keeps_its_name() -> None:
    assert (
        trace.original_name(b"CUDA0#blk.0.attn_q.weight.lora_a#0") == "blk.0.attn_q.weight.lora_a"
    )
    assert trace.original_name(b"blk.0.attn_q.weight.lora_a") == "blk.0.attn_q.weight.lora_a"
    assert trace.original_name(b"CUDA0#" + b"x" * 57) is None
