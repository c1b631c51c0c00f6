"""The page and the JSON document of `tui show`, with everything about one model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.gguf.base_facts import BaseFacts
from engine.stack import Adapter
from modelfiles.model import Model
from modelfiles.parameters import Parameters
from tui.text.sanitize import printable, printable_line
from tui.text.tables import table_lines
from tui.text.units import count_text, size_text

_LICENSE_LINES = 2
_TEMPLATE = "its own, used in place of the base's chat template (--template prints it)"


def overview(model: Model, base: BaseFacts, adapters: Sequence[Adapter], card: str | None) -> str:
    """Return the page, with a section for each part that the model has."""
    sections = [
        ("Model", _base_lines(base)),
        ("Adapters", _adapter_lines(model, adapters)),
        ("Parameters", table_lines(parameter_rows(model.parameters))),
        ("System", (model.system or "").splitlines()),
        ("Template", [_TEMPLATE] if model.template else []),
        ("Messages", table_lines([(m.role, m.content) for m in model.messages])),
        ("Kept for Ollama", _without_effect_lines(model)),
        ("License", _license_lines(model.licenses)),
    ]
    pages = [_section(title, lines) for title, lines in sections if lines]
    if card:
        pages.append(card.strip() + "\n")
    return printable("\n".join(pages))


def document(model: Model, base: BaseFacts, adapters: Sequence[Adapter]) -> dict[str, Any]:
    """Return the document of `tui show --json`; sizes in bytes, context lengths in tokens."""
    return {
        "name": model.name,
        "base": {
            "path": printable(str(model.base)),
            "name": base.name,
            "architecture": base.architecture,
            "parameters": base.n_params,
            "context_length": base.context_length,
            "embedding_length": base.embedding_length,
            "quantization": base.quantization,
            "size_bytes": base.size_bytes,
        },
        "adapters": [
            {
                "name": adapter.name,
                "scale": spec.scale,
                "path": printable(adapter.path),
                "rank": adapter.rank_max,
                "alpha": adapter.alpha,
                "targets": adapter.n_targets,
                "size_bytes": adapter.size_bytes,
                "sha256": adapter.sha256,
                "description": adapter.description,
            }
            for spec, adapter in zip(model.adapters, adapters, strict=True)
        ],
        "parameters": set_parameters(model.parameters),
        "system": model.system,
        "template": model.template,
        "messages": [{"role": m.role, "content": m.content} for m in model.messages],
        "licenses": list(model.licenses),
        "renderer": model.kept.renderer,
        "parser": model.kept.parser,
        "requires": model.kept.requires,
        "drafts": [printable(str(path)) for path in model.kept.drafts],
    }


def set_parameters(parameters: Parameters) -> dict[str, Any]:
    """Return the parameters that are set, by name."""
    values = msgspec.structs.asdict(parameters)
    return {name: value for name, value in values.items() if value is not None}


def parameter_rows(parameters: Parameters) -> list[tuple[str, str]]:
    """Return a name and a value for each parameter that is set, one row for each stop string."""
    rows = []
    for name, value in set_parameters(parameters).items():
        for item in value if isinstance(value, tuple) else (value,):
            rows.append((name, _parameter_text(item)))
    return rows


def _parameter_text(value: bool | int | float | str) -> str:
    """Return a value as Ollama prints it: strings quoted, so that their blanks can be seen."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _base_lines(base: BaseFacts) -> list[str]:
    rows = [
        ("name", base.name),
        ("architecture", base.architecture),
        ("parameters", count_text(base.n_params)),
        ("context length", _or_unknown(base.context_length)),
        ("embedding length", _or_unknown(base.embedding_length)),
        ("quantization", base.quantization),
        ("size", size_text(base.size_bytes)),
    ]
    return table_lines(rows)


def _adapter_lines(model: Model, adapters: Sequence[Adapter]) -> list[str]:
    """Return a row for each adapter, followed by the description in its file."""
    rows = [
        (
            adapter.name,
            f"scale {spec.scale:.2f}",
            f"rank {adapter.rank_text}",
            f"alpha {adapter.alpha:g}",
            f"{adapter.n_targets} targets",
            size_text(adapter.size_bytes),
        )
        for spec, adapter in zip(model.adapters, adapters, strict=True)
    ]
    lines: list[str] = []
    for row, adapter in zip(table_lines(rows), adapters, strict=True):
        lines.append(row)
        if adapter.description:
            lines.append(f"  {printable_line(adapter.description)}")
    return lines


def _without_effect_lines(model: Model) -> list[str]:
    """Return the instructions that only Ollama uses: kept and shown, but without effect here."""
    rows = [
        ("renderer", model.kept.renderer),
        ("parser", model.kept.parser),
        ("requires", model.kept.requires),
        *(("draft", str(path)) for path in model.kept.drafts),
    ]
    return table_lines([(name, value) for name, value in rows if value])


def _license_lines(licenses: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for text in licenses:
        whole = text.strip().splitlines()
        lines += whole[:_LICENSE_LINES]
        if len(whole) > _LICENSE_LINES:
            lines.append("...")
    return lines


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"  {title}", *(f"    {line}".rstrip() for line in lines), ""])
