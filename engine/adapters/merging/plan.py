"""Plan a merged model: the source and the type of each tensor."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Literal

from engine.adapters.checking.rules import dimensions
from engine.adapters.pairs import OUTPUT, TOKEN_EMBEDDING
from engine.errors import BaseError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from engine.gguf.writer import Slot
from modelfiles.wording import shown

MergeType = GgmlType | Literal["keep"] | None
"""Type of touched tensors: one for all, `keep` for each its own, None for F16, but F32 kept."""

FLOATS: Final = frozenset({GgmlType.F32, GgmlType.F16, GgmlType.BF16})

# Tensors that llama.cpp never quantises: `tensor_allows_quantization` of llama-quant.cpp.
_NEVER_QUANTISED: Final = re.compile(
    r"_norm\.|ffn_gate_inp\.|altup|laurel|per_layer_model_proj|position_embd|token_types"
    r"|ssm_conv1d|shortconv\.conv\.|indexer\.[kq]_proj\.|time_mix_|attn_rel_b\."
)
# For row lengths that are not multiples of 256: `tensor_type_fallback` of llama-quant.cpp.
_SHORTER_BLOCKS: Final = {
    GgmlType.Q2_K: GgmlType.Q4_0,
    GgmlType.Q3_K: GgmlType.Q4_0,
    GgmlType.Q4_K: GgmlType.Q5_0,
    GgmlType.Q5_K: GgmlType.Q5_1,
    GgmlType.Q6_K: GgmlType.Q8_0,
    GgmlType.IQ3_S: GgmlType.IQ4_NL,
    GgmlType.IQ3_XXS: GgmlType.IQ4_NL,
    GgmlType.IQ4_XS: GgmlType.IQ4_NL,
}


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """One tensor of the merged model."""

    name: str
    source: TensorInfo
    """The stored tensor it is made from; the embedding for an untied output."""
    type: GgmlType
    is_touched: bool
    """Whether an adapter changes it."""

    @property
    def is_copied(self) -> bool:
        """Whether its bytes are copied from the source."""
        return not self.is_touched and self.type is self.source.type

    @property
    def slot(self) -> Slot:
        """Its entry in the merged file's tensor table."""
        return Slot(self.name, self.source.shape, self.type)


def plan_of(base: GgufHeader, touched: Container[str], wanted: MergeType) -> list[MergedTensor]:
    """Return the tensors of a merged model in the base's order.

    Copies untouched tensors. Touched ones get the type that `wanted` gives, or llama.cpp's fallback
    if their rows do not fill its blocks; one-dimensional ones keep their type.
    """
    return [
        MergedTensor(
            name,
            tensor,
            _touched_type(tensor, wanted) if name in touched else tensor.type,
            name in touched,
        )
        for name, tensor in base.tensors.items()
    ]


def plan_from_original(
    base: GgufHeader, original: GgufHeader, touched: Container[str], wanted: MergeType
) -> list[MergedTensor]:
    """Return the tensors of a model merged in full precision and quantised once.

    Each tensor gets its type in `base`, or `wanted` unless `base` keeps it in F32. Touched tensors
    are made from `original`. Untouched ones are copied from `base` if it has them in that type, as
    they are already quantised once, perhaps with an importance matrix.
    """
    plan = []
    for name, like in base.tensors.items():
        if isinstance(wanted, GgmlType) and len(like.shape) > 1 and like.type is not GgmlType.F32:
            type_ = _fitting(like, wanted)
        else:
            type_ = like.type
        is_touched = name in touched
        is_there = not is_touched and like.type is type_
        plan.append(
            MergedTensor(name, like if is_there else original.tensors[name], type_, is_touched)
        )
    return plan


def require_same_model(base: GgufHeader, original: GgufHeader) -> None:
    """Raise `BaseError` unless two models have the same architecture, tensor names and shapes."""
    if original.architecture != base.architecture:
        raise BaseError(
            f"has the architecture {shown(original.architecture or '')}, but the base "
            f"{shown(base.architecture or '')}: name the model the base was quantised from.",
            original.path,
        )
    for one, other in ((base, original), (original, base)):
        missing = [name for name in one.tensors if name not in other.tensors]
        if missing:
            advice = "name the model the base was quantised from"
            if any(
                re.search(r"attn_(q|k|v|qkv)\.|ffn_(gate|up|gate_up)_exps\.", n) for n in missing
            ):
                advice += ", with the same tensors split or fused"
            elif missing == [OUTPUT] or missing == [TOKEN_EMBEDDING]:
                advice += ", with embeddings tied in both or in none"
            raise BaseError(
                f"lacks the tensor {shown(missing[0])} of the other model: {advice}.", other.path
            )
    for name, tensor in base.tensors.items():
        if original.tensors[name].ne != tensor.ne:
            raise BaseError(
                f"has {dimensions(original.tensors[name])} values in {shown(name)}, but the base "
                f"{dimensions(tensor)}: name the model the base was quantised from.",
                original.path,
            )


def _touched_type(tensor: TensorInfo, wanted: MergeType) -> GgmlType:
    if wanted == "keep" or len(tensor.shape) < 2:
        return tensor.type
    is_f32 = tensor.type is GgmlType.F32
    if wanted is None:
        # BF16 also becomes F16: of a delta of 0.1, 0.2 and 0.5 % of the weights, BF16 kept 53, 82
        # and 99 %, as it has 8 bits of mantissa and F16 has 11. No sound weight exceeds F16's
        # range.
        return GgmlType.F32 if is_f32 else GgmlType.F16
    if is_f32 and wanted not in FLOATS and _NEVER_QUANTISED.search(tensor.name):
        return GgmlType.F32
    return _fitting(tensor, wanted)


def _fitting(tensor: TensorInfo, wanted: GgmlType) -> GgmlType:
    for type_ in (wanted, _SHORTER_BLOCKS.get(wanted, GgmlType.F16)):
        if tensor.ne[0] % type_.block_length == 0:
            return type_
    return GgmlType.F16
