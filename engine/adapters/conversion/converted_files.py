"""Cache PEFT and MLX adapters as GGUF files, converted once for each base model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.adapters.conversion.convert import convert
from engine.adapters.conversion.converted_file import is_intact
from engine.adapters.conversion.encoding import OutType
from engine.adapters.conversion.identity import (
    CONVERTER_VERSION,
    base_fingerprint,
    base_sha256,
)
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraSource
from engine.disk.file_cache import GgufCache
from engine.errors import EngineError
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base

CONVERTED_BYTES: Final = 4 * 2**30
"""Disk budget for converted adapters: 25 of rank 16 for an 8B model in F32."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A PEFT or MLX adapter converted to a GGUF file."""

    path: Path
    """File in the cache, which may be evicted later: use it now, do not store the path."""
    title: str
    """Display name of the adapter."""
    is_new: bool
    """Whether this call converted it, rather than finding it in the cache."""
    notices: tuple[str, ...]
    """Notices for the user, one sentence each."""


class ConvertedCache(GgufCache):
    """Converted adapters in one folder, named by a digest of their inputs."""

    spared_s = 24 * 3600.0
    """A chat refers to the file while it runs, to fuse it or to save it in a model."""
    is_sound = staticmethod(is_intact)

    @staticmethod
    def key(source: LoraSource, base: GgufHeader, out_type: OutType) -> str:
        """Return the cache key of a conversion; raise `GgufError` if the base file changed."""
        parts = [
            CONVERTER_VERSION,
            source.sha256,
            source.title,
            base_fingerprint(base),
            base_sha256(base),
            out_type,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def converted(
    source: Path,
    base: Path | GgufHeader,
    folder: Path,
    *,
    out_type: OutType = "auto",
    budget_bytes: int = CONVERTED_BYTES,
    on_progress: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Converted:
    """Return a PEFT or MLX adapter converted for `base`, using the cache in `folder`.

    Reads the source each time for its digest, and converts it if the cache has no intact file for
    this content, base and type. Raises as `engine.adapters.conversion.convert.convert` does, and
    `EngineError` if the folder cannot be used.
    """
    lora = read_source(source)
    header = base if isinstance(base, GgufHeader) else require_base(base)
    notices = (*lora.notices, *make_plan(lora, header).notices)
    cache = ConvertedCache(folder, budget_bytes)

    def write(out: Path) -> None:
        convert(
            lora,
            header,
            out,
            out_type=out_type,
            on_progress=on_progress,
            is_cancelled=is_cancelled,
        )

    try:
        key = cache.key(lora, header, out_type)
        found = cache.find(key)
        path = cache.build(key, write) if found is None else found
    except OSError as error:
        raise EngineError(f"cannot hold the converted adapter: {error.strerror}.", folder) from None
    return Converted(path, lora.title, found is None, notices)
