"""Read what a base model says of itself, from its GGUF header alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.gguf.header import GgufHeader

# `general.file_type`: enum llama_ftype of llama.h, under the names that quantisers print.
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
}


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
    file_type = header.integer("general.file_type")
    declared = None if file_type is None else _FILE_TYPES.get(file_type)
    if declared is not None:
        return declared
    bytes_of: Counter[str] = Counter()
    for tensor in header.tensors.values():
        bytes_of[tensor.type.name] += tensor.size_bytes
    return bytes_of.most_common(1)[0][0] if bytes_of else "unknown"
