"""Split a tiny base into several files, as llama-gguf-split does."""

from __future__ import annotations

from pathlib import Path

from engine.gguf.metadata import ValueType
from tests.support.gguf_raw import RawGguf, RawValue


def write_split(whole: Path, stem: str, n_parts: int) -> list[Path]:
    """Write the shards of a GGUF beside it and return them; the first has the metadata."""
    raw = RawGguf.read(whole)
    names = list(raw.tensors)
    paths = []
    for number in range(n_parts):
        part = RawGguf(dict(raw.metadata) if number == 0 else {})
        part.metadata["split.no"] = RawValue(ValueType.UINT16, number)
        part.metadata["split.count"] = RawValue(ValueType.UINT16, n_parts)
        part.metadata["split.tensors.count"] = RawValue(ValueType.INT32, len(names))
        part.tensors = {name: raw.tensors[name] for name in names[number::n_parts]}
        path = whole.with_name(f"{stem}-{number + 1:05d}-of-{n_parts:05d}.gguf")
        paths.append(part.write(path))
    return paths
