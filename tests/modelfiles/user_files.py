"""A folder as a user has it: a Modelfile and the files it names."""

from __future__ import annotations

from pathlib import Path


class Folder:
    """A folder with a user's files: models are GGUF by their first bytes only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def gguf(self, name: str, content: str = "") -> Path:
        """Write a file that passes for GGUF and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF" + (content or name).encode())
        return path

    def modelfile(self, text: str, name: str = "Modelfile") -> Path:
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return path
