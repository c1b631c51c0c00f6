"""Write a store in Ollama's layout by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MEDIA_TYPE = "application/vnd.ollama.image."


class OllamaFolder:
    """The folder that `OLLAMA_MODELS` names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def blob(self, content: bytes) -> Path:
        """Write a blob, named by its content, and return its path."""
        path = self.root / "blobs" / f"sha256-{hashlib.sha256(content).hexdigest()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def layer(self, kind: str, content: bytes) -> dict[str, Any]:
        """Write a blob and return its layer entry for a manifest."""
        digest = self.blob(content).name.replace("-", ":")
        return {"mediaType": MEDIA_TYPE + kind, "digest": digest, "size": len(content)}

    def model(
        self,
        path: str,
        layers: Iterable[tuple[str, bytes | str | Mapping[str, Any] | list[Any]]],
        **config: Any,
    ) -> Path:
        """Write a model and return its manifest.

        `path` is relative to `manifests`: `registry.ollama.ai/library/tiny/latest`. Contents that
        are neither bytes nor text are written as JSON; `config` overrides that of a GGUF model.
        """
        entries = [self.layer(kind, _encoded(content)) for kind, content in layers]
        facts = {"model_format": "gguf", "model_family": "llama", "file_type": "F32", **config}
        written = self.layer("config", _encoded(facts))
        written["mediaType"] = "application/vnd.docker.container.image.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": written,
            "layers": entries or None,
        }
        return self.manifest(path, json.dumps(manifest).encode())

    def manifest(self, path: str, content: bytes) -> Path:
        """Write a manifest's file with the given bytes."""
        file = self.root / "manifests" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def listing(self) -> dict[str, tuple[int, int, int, int]]:
        """Return mode, size, modification time (ns) and link count by path, for all entries."""
        return {
            str(path.relative_to(self.root)): (
                (status := path.lstat()).st_mode,
                status.st_size,
                status.st_mtime_ns,
                status.st_nlink,
            )
            for path in (self.root, *sorted(self.root.rglob("*")))
        }


def _encoded(content: bytes | str | Mapping[str, Any] | list[Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()
