"""Report of `tui pull` on a finished pull, as lines and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.hub.search.fit import Fit
from modelfiles.references.pulled_adapters import PulledAdapter
from tui.commands.base_option import Base
from tui.commands.hub.pulled_table import adapter_document, kind_text
from tui.text.units import size_text

Told = tuple[dict[str, Any], list[str]]
"""The JSON object and the lines of a report."""


def adapter_told(
    record: PulledAdapter, base: Base | None, fit: Fit | None, *, is_new: bool
) -> Told:
    """Describe an adapter that was pulled; `fit` is None if it was not checked."""

    document = {
        "type": "adapter",
        **adapter_document(record),
        "is_new": is_new,
        "fit": None if fit is None else str(fit.verdict),
        "reason": fit.reason if fit is not None and fit.reason else None,
    }
    size = f"{kind_text(record.kind)}, {size_text(record.size_bytes)}"
    model = base.name if base is not None and base.name else "NAME"
    verb = "pulled" if is_new else "already here:"
    return document, [
        f"{verb} '{record.name}' ({size}), revision {record.revision[:7]} of hf.co/{record.repo}",
        f"file: {record.path}",
        f"next: tui run {model} --lora {record.name}",
    ]


def model_told(
    name: str, base: Path, size_bytes: int, revision: str | None, *, is_new: bool
) -> Told:
    """Describe a base model that was pulled; `revision` is None if the Hub was not asked."""
    document = {
        "type": "model",
        "name": name,
        "path": str(base),
        "size_bytes": size_bytes,
        "is_new": is_new,
        "reference": name,
        "revision": revision,
    }
    verb = "pulled" if is_new else "already here:"
    return document, [
        f"{verb} '{name}' (model, {size_text(size_bytes)})",
        f"file: {base}",
        f"next: tui run {name}",
    ]
