"""Write and read a merged model's metadata: the base's, and a record of the merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.adapters.merging.plan import FLOATS, MergedTensor
from engine.adapters.scaled_adapter import FusePart
from engine.gguf.file_type import FILE_TYPE_KEY, file_type_of, majority_type
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import ValueType
from engine.gguf.writer import (
    Field,
    copied_fields,
    float32s_field,
    text_field,
    texts_field,
    uint32_field,
)
from engine.stack import label_of, to_float32

MERGE_VERSION: Final = 1
MERGE_PREFIX: Final = "lora_tui.merge."
VERSION_KEY: Final = MERGE_PREFIX + "version"
BASE_SHA256_KEY: Final = MERGE_PREFIX + "base.sha256"
BASE_NAME_KEY: Final = MERGE_PREFIX + "base.name"
LIKE_SHA256_KEY: Final = MERGE_PREFIX + "quantised_like.sha256"
STACK_SHA256_KEY: Final = MERGE_PREFIX + "stack.sha256"
STACK_NAMES_KEY: Final = MERGE_PREFIX + "stack.names"
STACK_SCALES_KEY: Final = MERGE_PREFIX + "stack.scales"
EARLIER_PREFIX: Final = MERGE_PREFIX + "earlier."
"""Prefix of the records of earlier merges of the base, repeated once for each merge."""

_NAME_KEY: Final = "general.name"
_QUANTISATION_KEY: Final = "general.quantization_version"
_QUANTISATION_VERSION: Final = 2  # GGML_QNT_VERSION of ggml.h


@dataclass(frozen=True, slots=True)
class MergedOf:
    """The base and the adapters that a model was merged from."""

    base_sha256s: tuple[str, ...]
    """Hex SHA-256 of each file whose weights the deltas were added to, several if split."""
    base_name: str
    sha256s: tuple[str, ...]
    """Hex SHA-256 of each adapter."""
    names: tuple[str, ...]
    scales: tuple[float, ...]


def merged_of(header: GgufHeader) -> MergedOf | None:
    """Return the base and adapters that a model was merged from; None if it was not merged here.

    Raises `GgufError` if the file changed since its header was read.
    """
    base, sha256s, names = (
        header.array(key, ValueType.STRING)
        for key in (BASE_SHA256_KEY, STACK_SHA256_KEY, STACK_NAMES_KEY)
    )
    scales = header.array(STACK_SCALES_KEY, ValueType.FLOAT32)
    if base is None or sha256s is None or names is None or scales is None:
        return None
    if header.integer(VERSION_KEY) is None or not len(sha256s) == len(names) == len(scales):
        return None
    return MergedOf(base, header.text(BASE_NAME_KEY) or "", sha256s, names, scales)


def merged_fields(
    base: GgufHeader,
    plan: Sequence[MergedTensor],
    parts: Sequence[FusePart],
    names: Sequence[str],
    base_sha256s: Sequence[str],
    like_sha256s: Sequence[str] | None,
) -> list[Field]:
    """Return the metadata of a merged model, in the base's order with new keys at the end.

    Args:
        base: The model whose metadata is copied.
        plan: The merged model's tensors.
        parts: The merged adapters.
        names: Names of the adapters.
        base_sha256s: Hex SHA-256 of the files whose weights the deltas are added to.
        like_sha256s: Hex SHA-256 of the base's files if the deltas are added to another model.

    Raises `GgufError` if the base changed since its header was read.
    """
    own_name = base.text(_NAME_KEY) or _stem(base)
    stack = label_of(zip(names, (part.scale for part in parts), strict=True))
    # Drop general.alignment, as the file is written with the default alignment.
    fields = {
        field.key: field
        for field in copied_fields(base)
        if not field.key.startswith("split.") and field.key != "general.alignment"
    }
    changed = [text_field(_NAME_KEY, f"{own_name} + {stack}"), *_file_type(base, plan)]
    if any(t.type not in FLOATS and not t.is_copied for t in plan) and (
        _QUANTISATION_KEY not in fields
    ):
        changed.append(uint32_field(_QUANTISATION_KEY, _QUANTISATION_VERSION))
    fields = {field.key: field for field in map(_as_earlier, fields.values())}
    fields |= {field.key: field for field in changed}
    return [
        *fields.values(),
        uint32_field(VERSION_KEY, MERGE_VERSION),
        texts_field(BASE_SHA256_KEY, base_sha256s),
        text_field(BASE_NAME_KEY, own_name),
        *([] if like_sha256s is None else [texts_field(LIKE_SHA256_KEY, like_sha256s)]),
        texts_field(STACK_SHA256_KEY, [part.sha256 for part in parts]),
        texts_field(STACK_NAMES_KEY, names),
        float32s_field(STACK_SCALES_KEY, [to_float32(part.scale) for part in parts]),
    ]


def _as_earlier(field: Field) -> Field:
    """Move a field of an earlier merge under `EARLIER_PREFIX`; return other fields unchanged."""
    if not field.key.startswith(MERGE_PREFIX):
        return field
    return Field(EARLIER_PREFIX + field.key.removeprefix(MERGE_PREFIX), field.value)


def _file_type(base: GgufHeader, plan: Sequence[MergedTensor]) -> list[Field]:
    """Return the file type field if the majority type differs from the base's."""
    before = majority_type((t.shape, t.type) for t in base.tensors.values())
    after = majority_type((t.source.shape, t.type) for t in plan)
    number = None if after is None else file_type_of(after)
    if number is None or after is before:
        return []
    return [uint32_field(FILE_TYPE_KEY, number)]


def _stem(base: GgufHeader) -> str:
    """Return the file's stem, or the architecture if the stem is a digest."""
    stem = base.path.stem
    return (base.architecture or "model") if stem.startswith("sha256-") else stem
