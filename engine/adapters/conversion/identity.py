"""Define the metadata that identifies a converted adapter's source and base model."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from engine.adapters.foreign.source import LoraSource
from engine.adapters.pairs import INVOCATION
from engine.gguf.header import GgufHeader
from engine.gguf.metadata import GgufArray
from engine.gguf.writer import Field, text_field, uint32_field, uint32s_field

CONVERTER_VERSION: Final = 1
"""Increased whenever equal source and base would give other tensors than before."""
VERSION_KEY: Final = "lora_tui.convert.version"
SOURCE_SHA256_KEY: Final = "lora_tui.convert.source_sha256"
BASE_FINGERPRINT_KEY: Final = "lora_tui.convert.base_fingerprint"
BASE_SHA256_KEY: Final = "lora_tui.convert.base_sha256"
BASE_NAME_KEY: Final = "lora_tui.convert.base_name"

_BLOB: Final = re.compile(r"sha256-([0-9a-f]{64})")
_REPO: Final = re.compile(r"(\w[\w.-]*)/(\w[\w.-]*)", re.ASCII)
# Keys that differ between two quantisations, or two ways of splitting, of one model.
_OF_THE_FILE: Final = re.compile(
    r"general\.(file_type|quantization_version|alignment|quantized_by)"
)


def base_fingerprint(base: GgufHeader) -> str:
    """Return a hex SHA-256 of the parts of a base's header that a conversion depends on.

    Covers the names and shapes of the tensors, and the metadata under `general.` and under the
    architecture. All quantisations of a model share one fingerprint, and other models have another
    (a digest of the whole file would take a minute for 100 GB). Raises `GgufError` if the file
    changed since its header was read.
    """
    known = {
        key: list(value.read()) if isinstance(value, GgufArray) else value
        for key, value in base.metadata.items()
        if _is_of_the_model(key, base.architecture or "")
    }
    shapes = {name: tensor.shape for name, tensor in base.tensors.items()}
    text = json.dumps([known, shapes], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def base_sha256(base: GgufHeader) -> str:
    """Return the base's hex SHA-256 if its file name is a model store's digest, else ''."""
    match = _BLOB.fullmatch(base.path.name)
    return match[1] if match and len(base.part_stamps) == 1 else ""


def identity_fields(source: LoraSource, base: GgufHeader, name: str) -> list[Field]:
    """Return the metadata that identifies a converted adapter: names, base, digests."""
    known = [
        text_field("general.architecture", base.architecture or ""),
        text_field("general.type", "adapter"),
        text_field("adapter.type", "lora"),
        *([text_field("general.name", name)] if name else []),
        *_base_model_fields(source.base_name),
        # GGML_QNT_VERSION of ggml.h, which llama.cpp's own scripts write into every file.
        uint32_field("general.quantization_version", 2),
        uint32_field(VERSION_KEY, CONVERTER_VERSION),
        text_field(SOURCE_SHA256_KEY, source.sha256),
        text_field(BASE_FINGERPRINT_KEY, base_fingerprint(base)),
    ]
    if source.invocation_tokens:
        known.append(uint32s_field(INVOCATION, source.invocation_tokens))
    if digest := base_sha256(base):
        known.append(text_field(BASE_SHA256_KEY, digest))
    if base_name := base.text("general.name"):
        known.append(text_field(BASE_NAME_KEY, base_name))
    return known


def _base_model_fields(base_name: str) -> list[Field]:
    """Return `general.base_model.*` for a repository of the Hub, nothing for a local path."""
    match = _REPO.fullmatch(base_name)
    if match is None:
        return []
    return [
        uint32_field("general.base_model.count", 1),
        text_field("general.base_model.0.name", match[2]),
        text_field("general.base_model.0.organization", match[1]),
        text_field("general.base_model.0.repo_url", f"https://huggingface.co/{base_name}"),
    ]


def _is_of_the_model(key: str, architecture: str) -> bool:
    if key.startswith("general."):
        return not _OF_THE_FILE.fullmatch(key)
    return bool(architecture) and key.startswith(f"{architecture}.")
