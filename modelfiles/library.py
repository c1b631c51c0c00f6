"""Look up and list all models by name: created models, packaged models and Ollama's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from modelfiles.errors import ModelNotFoundError
from modelfiles.model import FoundModel, ListedModel, Model
from modelfiles.ollama.root import ollama_root
from modelfiles.ollama.store import OllamaStore
from modelfiles.references.hub import PREFERRED, HubReference
from modelfiles.references.model_name import DEFAULT_HOST, ModelName
from modelfiles.state.home import state_home
from modelfiles.store.created import ModelStore
from modelfiles.store.packaged import PackagedModels, packaged_models

__all__ = ["FoundModel", "Library", "ListedModel", "open_library"]


class Library:
    """Read access to the store of a home folder, the packaged models and Ollama's store.

    A created model hides a packaged one of the same name, and both hide Ollama's. The full name,
    with its host `registry.ollama.ai`, means Ollama's model if it has one.
    """

    def __init__(
        self,
        home: Path,
        package: PackagedModels | None = None,
        ollama: OllamaStore | None = None,
    ) -> None:
        self._package = packaged_models() if package is None else package
        self._store = ModelStore(home, self._package)
        self._ollama = ollama

    def get(self, name: str) -> Model:
        """Return the model called `name`.

        Raises `ModelNotFoundError`, which suggests the nearest name, `ModelNameError`,
        `StoreError` if a file of the model is missing or was changed, and `OllamaError` if a
        model of Ollama cannot be run here.
        """
        return self.find(name).model

    def find(self, name: str) -> FoundModel:
        """Return the model called `name` and its origin; raises as `get` does.

        `hf.co/user/repo` without a quantisation means a created model of that repository: Q4_K_M
        if there is one, else the newest.
        """
        try:
            return self._find(name)
        except ModelNotFoundError:
            reference = _hub_reference(name)
            if reference is None:
                raise
            pulled = self._pulled(reference)
            if pulled is None:
                raise ModelNotFoundError(
                    f"{reference.display} is not on this machine:"
                    f" 'tui pull {reference.display}' downloads it"
                ) from None
            return self._find(pulled)

    def _pulled(self, reference: HubReference) -> str | None:
        """Return the created model for a Hub reference without a choice; None if there is none."""
        if reference.choice is not None:
            return None
        found = []
        for model in self._store.list():
            name = ModelName.parse(model.name)
            if f"{name.host}/{name.namespace}/{name.model}".casefold() == (
                reference.display.casefold()
            ):
                found.append(name)
        preferred = [name for name in found if name.tag.upper() == PREFERRED]
        return next((name.display for name in (*preferred, *found)), None)

    def _find(self, name: str) -> FoundModel:
        model_name = ModelName.parse(name)
        is_created = self._store.has(name)
        is_hiding = is_created or self._is_packaged(model_name)
        if self._ollama is not None and (not is_hiding or _is_full(name)):
            model = self._ollama.get(model_name)
            if model is not None:
                shown = ModelName.parse(model.name).full if is_hiding else model.name
                return FoundModel(replace(model, name=shown), "ollama")
        hides = self._hidden(model_name) if is_hiding else None
        if not is_created and (packaged := self._package.get(model_name)) is not None:
            return FoundModel(packaged, "package", hides)
        if not is_created:
            raise self._store.not_found(model_name, self._ollama_names())
        return FoundModel(self._store.get(name), "created", hides)

    def problems(self) -> list[str]:
        """Return a sentence for each folder of Ollama's store that cannot be read."""
        return [] if self._ollama is None else self._ollama.problems()

    def list(self) -> list[ListedModel]:
        """Describe every model, newest first.

        Leaves out packaged models that a created one hides; shows hidden models of Ollama under
        their full names.
        """
        created = self._store.list()
        names = {ModelName.parse(model.name).folded for model in created}
        packaged = [
            model
            for model in self._package.list()
            if ModelName.parse(model.name).folded not in names
        ]
        names |= {ModelName.parse(model.name).folded for model in packaged}
        ollama = [] if self._ollama is None else self._ollama.list()
        shown = [
            replace(model, name=name.full) if name.folded in names else model
            for model in ollama
            # A model of another host already shows its full name, so it cannot be told apart.
            if (name := ModelName.parse(model.name)).folded not in names
            or name.host == DEFAULT_HOST
        ]
        everything = (*created, *packaged, *shown)
        return sorted(everything, key=lambda model: model.modified, reverse=True)

    def is_ollamas(self, name: str) -> bool:
        """Return whether a name means a model of Ollama, even one that cannot be run here."""
        model_name = ModelName.parse(name)
        is_hiding = self._store.has(name) or self._is_packaged(model_name)
        is_known = any(known.folded == model_name.folded for known in self._ollama_names())
        return is_known and (not is_hiding or _is_full(name))

    def is_from_ollama(self, file: Path) -> bool:
        """Return whether Ollama's store has a blob with the name of `file`, wherever it is."""
        return self._ollama is not None and self._ollama.has_blob(file)

    def _is_packaged(self, name: ModelName) -> bool:
        return any(known.folded == name.folded for known in self._package.names())

    def _hidden(self, name: ModelName) -> str | None:
        names = (known for known in self._ollama_names() if known.folded == name.folded)
        found = next(names, None)
        return found.full if found is not None and found.host == DEFAULT_HOST else None

    def _ollama_names(self) -> tuple[ModelName, ...]:
        return () if self._ollama is None else tuple(self._ollama.names())


def open_library(environ: Mapping[str, str] = os.environ) -> Library:
    """Return the library of this machine; the environment says where its stores are."""
    return Library(state_home(environ), ollama=OllamaStore(ollama_root(environ)))


def _hub_reference(name: str) -> HubReference | None:
    try:
        return HubReference.parse(name, "model")
    except ValueError:
        return None


def _is_full(name: str) -> bool:
    """Return whether a name spells out Ollama's default host."""
    return name.rpartition("://")[2].casefold().startswith(f"{DEFAULT_HOST}/")
