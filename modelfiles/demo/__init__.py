"""Paths of the bundled demo: a tiny trained base model with four adapters."""

from __future__ import annotations

from pathlib import Path

DEMO_DIR = Path(__file__).resolve().parent
MODELFILE = DEMO_DIR / "Modelfile"
CARD = DEMO_DIR / "CARD.md"
BASE = DEMO_DIR / "base.gguf"
ADAPTER_NAMES = ("pirate", "formal", "shout", "island")
ADAPTERS = {name: DEMO_DIR / f"{name}.gguf" for name in ADAPTER_NAMES}
