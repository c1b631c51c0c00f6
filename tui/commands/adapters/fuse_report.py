"""Report of `tui fuse` on the adapter it wrote: the JSON document, and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.adapters.fusing.energy import ModuleEnergy, least, whole
from engine.stack import AdapterStack
from tui.commands.adapters.kept import kept_text, module_documents, module_rows, ranks_text
from tui.text.tables import table_lines
from tui.text.units import size_text


@dataclass(frozen=True, slots=True)
class FuseReport:
    """An adapter that was fused from a stack."""

    path: Path
    format: Literal["gguf", "peft"]
    size_bytes: int
    architecture: str
    stack: AdapterStack
    stack_ranks: Sequence[int]
    """The summed rank of every base tensor that the stack changes."""
    modules: Sequence[ModuleEnergy]
    more: dict[str, Any] = field(default_factory=dict)
    """Further members of a PEFT folder's document."""

    @property
    def ranks(self) -> list[int]:
        """The rank of every module that was written."""
        return [module.rank for module in self.modules]

    def document(self) -> dict[str, Any]:
        """Return the document of `--json`; shares are from 0 to 1."""
        worst = least(self.modules)
        return {
            "path": str(self.path),
            "format": self.format,
            "size_bytes": self.size_bytes,
            "architecture": self.architecture,
            "stack": [
                {
                    "name": entry.adapter.name,
                    "scale": entry.scale,
                    "rank": entry.adapter.rank_text,
                    "path": entry.adapter.path,
                }
                for entry in self.stack.active
            ],
            "ranks": {
                "stack": ranks_text(self.stack_ranks),
                "written": ranks_text(self.ranks),
            },
            "kept": {
                "all": whole(self.modules).share,
                "least": {"target": worst.target, "kept": worst.energy.share},
            },
            "modules": module_documents(self.modules),
            **self.more,
        }

    def lines(self, written: str) -> list[str]:
        """Return lines on the output and, if it is lossy, on the share kept of each kind of module.

        `written` is the output path as the user typed it.
        """
        energy = whole(self.modules)
        rank, before = ranks_text(self.ranks), ranks_text(self.stack_ranks)
        facts = [
            ("rank", rank if rank == before else f"{rank} (the stack's: {before})"),
            ("modules", str(len(self.modules))),
            ("size", size_text(self.size_bytes)),
            ("kept", kept_text(energy, self.modules, "what the stack changes")),
        ]
        kind = "PEFT folder" if self.format == "peft" else "adapter"
        lines = [f"fused {self.stack.label} into the {kind} {written}"]
        lines += [f"  {line}" for line in table_lines(facts)]
        if energy.kept < energy.total:
            lines += ["", "kept of each kind of module:"]
            lines += [f"  {line}" for line in table_lines(module_rows(self.modules))]
        return lines
