"""Report of `tui extract` on the adapter it made: the JSON document, and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.adapters.extraction.extract import Extracted
from engine.adapters.fusing.energy import least
from engine.gguf.header import GgufHeader
from tui.commands.adapters.kept import kept_text, module_documents, module_rows, ranks_text
from tui.text.tables import table_lines
from tui.text.units import size_text


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """An adapter made of the difference between two models."""

    extracted: Extracted
    tuned: GgufHeader
    base: GgufHeader
    rank: int
    """The rank that the user asked for."""
    notices: Sequence[str]

    def document(self) -> dict[str, Any]:
        """Return the document of `--json`; shares are from 0 to 1 of the difference."""
        extracted, energy = self.extracted, self.extracted.energy
        worst = least(extracted.modules)
        return {
            "path": str(extracted.path),
            "size_bytes": extracted.size_bytes,
            "tuned": str(self.tuned.path),
            "base": str(self.base.path),
            "architecture": self.base.architecture,
            "rank": self.rank,
            "kept": {
                "all": energy.share,
                "least": {"target": worst.target, "kept": worst.energy.share},
            },
            "modules": module_documents(extracted.modules),
            "left_out": [
                {
                    "reason": str(group.obstacle),
                    "tensors": group.names,
                    "share": group.squared_norm / energy.total if energy.total else 0.0,
                }
                for group in extracted.left_out
            ],
            "n_equal": extracted.n_equal,
            "notices": list(self.notices),
        }

    def lines(self, written: str) -> list[str]:
        """Return lines on the output, the share kept of each kind of module, and what is left out.

        `written` is the output path as the user typed it.
        """
        extracted, energy = self.extracted, self.extracted.energy
        ranks = [module.rank for module in extracted.modules]
        facts = [
            ("rank", ranks_text(ranks)),
            ("modules", f"{len(extracted.modules)} ({extracted.n_equal} tensors are equal)"),
            ("size", size_text(extracted.size_bytes)),
            ("kept", kept_text(energy, extracted.modules, "the difference")),
        ]
        lines = [f"extracted the adapter {written}"]
        lines += [f"  {line}" for line in table_lines(facts)]
        lines += ["", "kept of each kind of module:"]
        lines += [f"  {line}" for line in table_lines(module_rows(extracted.modules))]
        if extracted.left_out:
            lines += ["", "left out:"]
            rows = [
                (f"{len(group.names)} {group.obstacle}", self._share_of(group.squared_norm))
                for group in extracted.left_out
            ]
            lines += [f"  {line}" for line in table_lines(rows)]
        return lines

    def _share_of(self, squared_norm: float) -> str:
        if not squared_norm:
            return "cannot be compared"
        share = squared_norm / self.extracted.energy.total
        return f"{share:.1%} of the difference".replace("%", " %")
