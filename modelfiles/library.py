"""Every model there is by name: the created ones and those of the package."""

from __future__ import annotations

from pathlib import Path

from modelfiles.listing import ListedModel
from modelfiles.model import Model
from modelfiles.modelfile import generated_text
from modelfiles.names import ModelName
from modelfiles.package import PackagedModels, packaged_models
from modelfiles.store import ModelStore

__all__ = ["Library", "ListedModel"]


class Library:
    """The read side of the models: the store of a home folder, and the package behind it."""

    def __init__(self, home: Path, package: PackagedModels | None = None) -> None:
        self._package = packaged_models() if package is None else package
        self._store = ModelStore(home, self._package)

    def get(self, name: str) -> Model:
        """Return the model called `name`; a created one comes before a packaged one.

        Raises `ModelNotFoundError`, which names the nearest, `ModelNameError`, and `StoreError`
        where a file of the model is lost or changed.
        """
        model_name = ModelName.parse(name)
        if not self._store.has(name) and (model := self._package.get(model_name)) is not None:
            return model
        return self._store.get(name)

    def list(self) -> list[ListedModel]:
        """Describe every model, newest first; a packaged one that is hidden is left out."""
        created = self._store.list()
        names = {ModelName.parse(model.name).folded for model in created}
        packaged = [
            model
            for model in self._package.list()
            if ModelName.parse(model.name).folded not in names
        ]
        return sorted((*created, *packaged), key=lambda model: model.modified, reverse=True)

    def modelfile_text(self, name: str) -> str:
        """Return a Modelfile that creates the model again, with absolute paths."""
        return generated_text(self.get(name))
