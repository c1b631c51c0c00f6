"""Read an adapter file into an `Adapter` record, and a base model's header."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from engine.adapters.checking.own_rules import own_rules_broken
from engine.adapters.checking.rules import require_kept
from engine.adapters.pairs import ALPHA, invocation_tokens, pairs_of
from engine.disk.regular_file import open_regular, require_unchanged
from engine.errors import AdapterError, GgufError
from engine.gguf.header import GgufHeader, read_header
from engine.stack import Adapter

MAX_NAME_CHARACTERS: Final = 48


def read_adapter(path: Path, name: str | None = None) -> Adapter:
    """Read the record of the LoRA adapter in a GGUF file; hashes the whole file.

    `name` defaults to the file's `general.name`, else its stem, as one lower-case word. Raises
    `AdapterError` if the file is not a LoRA adapter or breaks a rule of `own_rules`, `GgufError` if
    it is not a valid GGUF file. `adapters.checking.check` checks whether it fits a base model.
    """
    path = path.absolute()
    header = read_header(path)
    require_kept(own_rules_broken(header))
    pairs = pairs_of(header)
    ranks = [pair.rank_b for pair in pairs]
    return Adapter(
        name=name or adapter_name(header.text("general.name") or "", path),
        path=str(path),
        sha256=content_sha256(header),
        architecture=header.architecture or "",
        alpha=header.number(ALPHA) or 0.0,
        rank_min=min(ranks),
        rank_max=max(ranks),
        n_targets=len(pairs),
        size_bytes=header.file_size_bytes,
        memory_bytes=sum(pair.a.size_bytes + pair.b.size_bytes for pair in pairs),
        description=header.text("general.description") or "",
        invocation_tokens=invocation_tokens(header),
    )


def require_same(adapter: Adapter) -> None:
    """Raise `AdapterError` if the file's content has changed since `adapter` was read.

    Skips files of the model store, which are named after their content.
    """
    if adapter.file.name == f"sha256-{adapter.sha256}":
        return
    if content_sha256(read_header(adapter.file)) != adapter.sha256:
        raise AdapterError(
            f"has changed since it was added: remove {adapter.name} and add it again.", adapter.path
        )


def adapter_name(title: str, path: Path) -> str:
    """Return `title`, else the file's stem, as a short lower-case word: `My LoRA` is `my-lora`."""
    for text in (title, path.stem):
        word = re.sub(r"[^\w.]+", "-", text.lower())[:MAX_NAME_CHARACTERS].strip("-._")
        if word:
            return word
    return "adapter"


def content_sha256(header: GgufHeader) -> str:
    """Return the hex SHA-256 of the file whose header was read, hashing without the GIL.

    Raises `GgufError` if the file cannot be read or changed since its header was read.
    """
    file, stamp = open_regular(header.path)
    with file:
        try:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise GgufError(f"cannot be read: {error.strerror}.", header.path) from None
    if stamp != header.stamp:
        raise GgufError("changed while being read: wait until it is complete.", header.path)
    require_unchanged(header.path, stamp)
    return digest
