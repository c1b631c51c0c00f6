"""Make headers of tiny bases and modules of adapters by hand, without files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.adapters.foreign.formats.tensor import StoredTensor
from engine.adapters.foreign.source import LoraModule, LoraSource, ModuleKind
from engine.disk.regular_file import FileStamp
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import Value
from engine.gguf.tensors import TensorInfo

Floats = NDArray[np.float32]
Weights = dict[str, Floats]
Shapes = dict[str, tuple[int, ...]]
BASE_PATH = Path("base.gguf")
ADAPTER_PATH = Path("adapter")

N_VOCAB, N_EMBD, N_FF, N_LAYER = 40, 24, 36, 2
N_HEAD, N_HEAD_KV, HEAD = 6, 3, 4
N_KV = N_HEAD_KV * HEAD
N_EXPERT, N_EXPERT_FF = 3, 10


def hand_header(
    architecture: str, shapes: Mapping[str, tuple[int, ...]], keys: Mapping[str, Value]
) -> GgufHeader:
    """Return a header with float32 tensors of `shapes` (numpy's order); `keys` lack the prefix."""
    stamp = FileStamp(0, 0)
    tensors = {
        name: TensorInfo(name, shape[::-1], GgmlType.F32, 0, 4 * int(np.prod(shape)), BASE_PATH)
        for name, shape in shapes.items()
    }
    metadata: dict[str, Value] = {"general.architecture": architecture}
    metadata |= {f"{architecture}.{key}": value for key, value in keys.items()}
    return GgufHeader(BASE_PATH, 3, metadata, {}, tensors, 0, 0, stamp, {}, {BASE_PATH: stamp})


def module(
    path: str,
    shape: tuple[int, ...],
    rank: int = 2,
    *,
    seed: int = 0,
    kind: ModuleKind | None = None,
    parameters: tuple[str, ...] = (),
    scale: float = 1.0,
) -> LoraModule:
    """Return a pair for a weight of `shape`, with small integers, so that products are exact.

    A shape of three numbers is that of all experts; an embedding needs its `kind`.
    """
    rng = np.random.default_rng([seed, *path.encode()])
    *lead, n_out, n_in = shape
    if kind is None:
        kind = ModuleKind.EXPERTS if lead else ModuleKind.LINEAR
    if kind is ModuleKind.EMBEDDING:
        n_out, n_in = n_in, n_out
    a = rng.integers(-4, 5, (*lead, rank, n_in)).astype(np.float32)
    b = rng.integers(-4, 5, (*lead, n_out, rank)).astype(np.float32)
    return LoraModule(path, kind, stored(f"{path}.a", a), stored(f"{path}.b", b), scale, parameters)


def stored(name: str, values: Floats) -> StoredTensor:
    """Return a stored float32 tensor whose reader returns `values`."""
    return StoredTensor(name, values.shape, "f32", lambda: values)


def source(modules: Iterable[LoraModule]) -> LoraSource:
    """Return a PEFT adapter of the given modules."""
    return LoraSource(ADAPTER_PATH, (), "peft", tuple(modules), "")


def weight_delta(one: LoraModule) -> Floats:
    """Return a module's unscaled delta, shape (n_out, n_in) or (n_experts, n_out, n_in)."""
    delta: Floats = one.b.read() @ one.a.read()
    return delta.T if one.kind is ModuleKind.EMBEDDING else delta


@dataclass(frozen=True)
class HandArchitecture:
    """One architecture, with two identical layers."""

    name: str
    """`general.architecture`."""
    modules: Shapes
    """Shapes of the weights by module path after the layer number."""
    tensors: Shapes
    """Shapes of the base's tensors, numpy's order, without layer and suffix."""
    convert: Callable[[Weights], Weights]
    """Function from a layer's weights by module to its weights by tensor."""
    layers: str = "model.layers"
    embedding: str = "model.embed_tokens"
    head: str = "lm_head"
    keys: Mapping[str, int] = field(default_factory=dict)

    def header(self) -> GgufHeader:
        """Return the header of a base."""
        shapes: Shapes = {
            "token_embd.weight": (N_VOCAB, N_EMBD),
            "output.weight": (N_VOCAB, N_EMBD),
        }
        for layer in range(N_LAYER):
            shapes |= {f"blk.{layer}.{name}.weight": s for name, s in self.tensors.items()}
        keys = {
            "block_count": N_LAYER,
            "embedding_length": N_EMBD,
            "attention.head_count": N_HEAD,
            **self.keys,
        }
        return hand_header(self.name, shapes, keys)


def fused_header(architecture: str) -> GgufHeader:
    """Return the header of a base of one layer that was written with `--fuse-qkv`."""
    shapes = {
        "token_embd.weight": (N_VOCAB, N_EMBD),
        "blk.0.attn_qkv.weight": (N_EMBD + 2 * N_KV, N_EMBD),
        "blk.0.attn_output.weight": (N_EMBD, N_EMBD),
    }
    return hand_header(
        architecture,
        shapes,
        {"block_count": 1, "embedding_length": N_EMBD, "attention.head_count": N_HEAD},
    )
