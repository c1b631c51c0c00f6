"""Folders of the checkout that tests read from or start programs in."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
MODELFILE_DATA: Final = ROOT / "tests" / "modelfiles" / "data"
CONVERSION_DATA: Final = ROOT / "tests" / "engine" / "adapters" / "conversion" / "data"
REFERENCES: Final = ROOT / "tests" / "references"
