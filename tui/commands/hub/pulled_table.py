"""List the adapters that were pulled, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from modelfiles.state.home import state_home
from tui.text.tables import table_lines
from tui.text.units import age_text, size_text

_HEADINGS = ("NAME", "KIND", "SIZE", "PULLED", "REVISION", "REFERENCE", "BASE")
_KINDS = {"gguf": "GGUF", "peft": "PEFT", "mlx": "MLX"}
_N_REVISION = 7
"""Digits of a commit, as git shortens it."""


def pulled_records(prefix: str = "") -> Sequence[PulledAdapter]:
    """Return the pulled adapters whose names have this prefix, ignoring case, newest first."""

    wanted = prefix.casefold()
    return [
        record
        for record in PulledAdapters(state_home()).list()
        if record.name.casefold().startswith(wanted)
    ]


def adapter_table(records: Sequence[PulledAdapter]) -> str:
    """Return pulled adapters as a table, with `gone` for files that are no longer on the disk."""
    now = datetime.now(UTC)
    rows = [_row(record, now) for record in records]
    return "\n".join(table_lines([_HEADINGS, *rows]))


def kind_text(kind: str) -> str:
    """Return a kind of adapter in its usual spelling."""
    return _KINDS.get(kind, kind)


def adapter_document(record: PulledAdapter) -> dict[str, Any]:
    """Return a pulled adapter as an object for scripts."""
    return {
        "name": record.name,
        "kind": record.kind,
        "size_bytes": record.size_bytes,
        "base_models": list(record.base_models),
        "repository": record.repo,
        "revision": record.revision,
        "file": record.file,
        "reference": record.reference,
        "path": record.path,
        "pulled": record.pulled.isoformat(),
        "is_there": record.is_there,
    }


def _row(record: PulledAdapter, now: datetime) -> tuple[str, ...]:
    return (
        record.name,
        kind_text(record.kind),
        size_text(record.size_bytes) if record.is_there else "gone",
        age_text(record.pulled, now),
        record.revision[:_N_REVISION],
        record.reference,
        ", ".join(record.base_models) or "-",
    )
