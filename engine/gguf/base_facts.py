"""Read what a base model says of itself, from its GGUF header alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.gguf.file_type import FILE_TYPE_KEY, FILE_TYPES

if TYPE_CHECKING:
    from engine.gguf.header import GgufHeader


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """A base model as its header describes it; None where the header does not say."""

    name: str
    """`general.name`, else the file's stem."""
    architecture: str
    n_params: int
    size_bytes: int
    context_length: int | None
    """Context length in tokens that the base was trained with."""
    embedding_length: int | None
    quantization: str
    """Such as `Q4_K_M`; the type that holds the most bytes if the file does not declare one."""
    chat_template: str | None


def read_base_facts(path: Path) -> BaseFacts:
    """Read the facts of the base in `path`; raise `BaseError` or `GgufError` if it is not one."""
    from engine.gguf.model_header import require_base

    return base_facts(require_base(path))


def base_facts(header: GgufHeader) -> BaseFacts:
    """Return the facts of the base with this header."""
    architecture = header.architecture or "unknown"
    return BaseFacts(
        name=header.text("general.name") or header.path.stem,
        architecture=architecture,
        n_params=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        size_bytes=header.file_size_bytes,
        context_length=header.integer(f"{architecture}.context_length"),
        embedding_length=header.integer(f"{architecture}.embedding_length"),
        quantization=_quantization(header),
        chat_template=header.text("tokenizer.chat_template"),
    )


def _quantization(header: GgufHeader) -> str:
    file_type = header.integer(FILE_TYPE_KEY)
    declared = None if file_type is None else FILE_TYPES.get(file_type)
    if declared is not None:
        return declared
    bytes_of: Counter[str] = Counter()
    for tensor in header.tensors.values():
        bytes_of[tensor.type.name] += tensor.size_bytes
    return bytes_of.most_common(1)[0][0] if bytes_of else "unknown"
