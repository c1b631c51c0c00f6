"""The models that come with the program: available by name without setup, and read-only."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelfiles.errors import ModelfilesError
from modelfiles.language.modelfile import read
from modelfiles.model import ListedModel, Model
from modelfiles.references.model_name import ModelName
from modelfiles.references.resolve import resolve
from modelfiles.store.blobs import hash_file
from modelfiles.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PackagedModels:
    """Folders that each hold a Modelfile, by model name."""

    folders: Mapping[str, Path]

    def names(self) -> list[ModelName]:
        """Return the names of the packaged models."""
        return [ModelName.parse(name) for name in self.folders]

    def get(self, name: ModelName) -> Model | None:
        """Return the packaged model of that name, ignoring case; None if there is none.

        Raises `ModelfilesError` if its folder is damaged.
        """
        for known, folder in self.folders.items():
            known_name = ModelName.parse(known)
            if known_name.folded == name.folded:
                modelfile = read(folder / "Modelfile")
                return resolve(modelfile, folder, None, known_name.display)
        return None

    def list(self) -> list[ListedModel]:
        """Describe every packaged model; reads all their files to compute the digests."""
        return [self._describe(name, folder) for name, folder in self.folders.items()]

    def _describe(self, name: str, folder: Path) -> ListedModel:
        display = ModelName.parse(name).display
        modified = datetime.fromtimestamp((folder / "Modelfile").stat().st_mtime, UTC)
        try:
            model = resolve(read(folder / "Modelfile"), folder, None, display)
        except ModelfilesError as error:
            return ListedModel(display, "", 0, modified, "package", 0, str(error))
        manifest = Manifest.of(model, {path: hash_file(path) for path in model.files})
        return manifest.listed(display, modified, "package")


def packaged_models() -> PackagedModels:
    """Return the packaged models: `demo`, if the installation contains it."""
    folder = Path(str(importlib.resources.files("modelfiles.demo")))
    return PackagedModels({"demo": folder} if (folder / "Modelfile").is_file() else {})
