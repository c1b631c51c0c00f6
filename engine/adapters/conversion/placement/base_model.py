"""Read head counts, sizes and row positions of a base model's layers from its header."""

from __future__ import annotations

from dataclasses import dataclass

from engine.adapters.conversion.placement.architectures import ARCHITECTURES, Architecture
from engine.adapters.conversion.placement.tensor_names import GATED, SPLIT
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import GgufArray
from engine.gguf.tensors import TensorInfo
from modelfiles.wording import shown


@dataclass(frozen=True, slots=True)
class Extent:
    """The rows of a base tensor that form one logical matrix, such as attn_k in attn_qkv."""

    tensor: TensorInfo
    start: int
    n_rows: int

    @property
    def n_columns(self) -> int:
        """Length of a row."""
        return self.tensor.ne[0]


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model's header with the rules of its architecture."""

    header: GgufHeader
    name: str
    """`general.architecture`."""
    architecture: Architecture

    @property
    def n_layers(self) -> int | None:
        """Number of layers, or None if the header does not contain it."""
        return self.header.integer(f"{self.name}.block_count")

    def tensor(self, name: str, layer: int | None) -> TensorInfo | None:
        """Return the weight with this short name (without `blk.N.` and `.weight`), or None."""
        return self.header.tensors.get(full_name(name, layer))

    def extent(self, name: str, layer: int | None) -> Extent | None:
        """Return the rows of `name`, in a tensor of that name or in a fused one, or None."""
        tensor = self.tensor(name, layer)
        if name in GATED and (fused := self._gated(layer)) is not None:
            n_rows = fused.ne[1] // 2
            return Extent(fused, GATED.index(name) * n_rows, n_rows)
        if tensor is not None:
            return Extent(tensor, 0, tensor.ne[1])
        for fused_name, members in SPLIT.items():
            fused = self.tensor(fused_name, layer)
            if fused is not None and name in members and not self._is_linear(layer):
                sizes = self._sizes(fused_name, fused, layer)
                at = members.index(name)
                if min(sizes) <= 0:
                    return None
                return Extent(fused, sum(sizes[:at]), sizes[at])
        return None

    def members(self, target: str) -> tuple[tuple[str, int], ...]:
        """Return the short names of the matrices that a tensor holds, with their numbers of rows.

        A fused tensor whose parts the header does not tell counts as one.
        """
        name, tensor = short_name(target), self.header.tensors[target]
        layer = int(target.split(".")[1]) if target.startswith("blk.") else None
        fused = GATED if name in GATED and tensor == self._gated(layer) else SPLIT.get(name, ())
        extents = {part: extent for part in fused if (extent := self.extent(part, layer))}
        sizes = tuple((part, extent.n_rows) for part, extent in extents.items())
        is_told = len(sizes) == len(fused) and sum(n for _, n in sizes) == tensor.ne[1]
        return sizes if is_told else ((name, tensor.ne[1]),)

    def n_heads(self, layer: int | None) -> int:
        """Return the number of query heads of a layer; raise `AdapterError` if it is missing."""
        return self._number("attention.head_count", layer)

    def number(self, key: str) -> int:
        """Return a positive integer, such as `ssm.group_count`; raise `AdapterError` if missing."""
        return self._number(key, None)

    def head_size(self, layer: int | None) -> int:
        """Return the size of a query or key head of a layer that has q, k and v in one tensor."""
        key_size = self.header.integer(f"{self.name}.attention.key_length")
        value_size = self.header.integer(f"{self.name}.attention.value_length")
        output = self.tensor("attn_output", layer)
        if output is not None and key_size == value_size:
            # From the tensor, as layers with a sliding window can have heads of another size.
            return output.ne[0] // self.n_heads(layer)
        return key_size or self.number("embedding_length") // self.n_heads(layer)

    def _gated(self, layer: int | None) -> TensorInfo | None:
        """Return ffn_up if it holds the gate too, as it then has two rows per input of ffn_down."""
        up, down = self.tensor("ffn_up", layer), self.tensor("ffn_down", layer)
        is_gated = up is not None and down is not None and up.ne[1] == 2 * down.ne[0] > 0
        return up if is_gated and self.tensor("ffn_gate", layer) is None else None

    def _is_linear(self, layer: int | None) -> bool:
        return self.architecture.has_linear_attention and self.tensor("ssm_out", layer) is not None

    def _sizes(self, fused_name: str, fused: TensorInfo, layer: int | None) -> tuple[int, ...]:
        n_rows = fused.ne[1]
        if fused_name != "attn_qkv":
            return n_rows // 2, n_rows // 2
        # Keys and values have the rows that are left: `head_count_kv` is wrong in some bases.
        key_size = self.head_size(layer)
        output = self.tensor("attn_output", layer)
        value_size = output.ne[0] // self.n_heads(layer) if output else key_size
        n_query = self.n_heads(layer) * key_size
        n_heads_kv = (n_rows - n_query) // max(key_size + value_size, 1)
        return n_query, n_heads_kv * key_size, n_heads_kv * value_size

    def _number(self, key: str, layer: int | None) -> int:
        value = self.header.metadata.get(f"{self.name}.{key}")
        if isinstance(value, GgufArray) and layer is not None and layer < len(value):
            value = value.read()[layer]
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise AdapterError(
                f"lacks {self.name}.{key}, which the order of rows depends on: take another GGUF "
                "of the same model.",
                self.header.path,
            )
        return value


def full_name(name: str, layer: int | None) -> str:
    """Return a weight's full name in a GGUF file, `blk.0.attn_q.weight`."""
    return f"{name}.weight" if layer is None else f"blk.{layer}.{name}.weight"


def short_name(target: str) -> str:
    """Return a tensor's name without its layer and suffix, the inverse of `full_name`."""
    name = target.removesuffix(".weight")
    return name.split(".", 2)[2] if name.startswith("blk.") else name


def known_base(base: GgufHeader) -> BaseModel:
    """Return `base` with its architecture's rules; raise `AdapterError` if none or refused."""
    name = base.architecture or ""
    architecture = ARCHITECTURES.get(name)
    if architecture is None:
        raise AdapterError(
            f"has the architecture {shown(name)}, which adapters cannot be converted for: use "
            "llama.cpp's convert_lora_to_gguf.py.",
            base.path,
        )
    key = architecture.refused_key
    if architecture.refused and (not key or f"{name}.{key}" in base.metadata):
        raise AdapterError(
            f"Adapters for {name} models cannot be converted: {architecture.refused}."
        )
    return BaseModel(base, name, architecture)
