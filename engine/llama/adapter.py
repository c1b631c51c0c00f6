"""Load an adapter's weights for one model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from engine.disk.handle import Handle
from engine.errors import AdapterError
from engine.llama.library import lc
from engine.llama.log import reasons
from engine.llama.model import Model


class LoraAdapter(Handle):
    """An adapter loaded for one model.

    Some malformed files crash llama.cpp: pass only files that `adapters.checking.check` found to
    fit.

    Raises:
        AdapterError: llama.cpp refused the file; the text carries its reason.
    """

    def __init__(self, model: Model, path: Path) -> None:
        reasons.clear()
        # On a failure this is a NULL pointer object, which is falsy but not None.
        self.pointer: Any = lc.llama_adapter_lora_init(model._model, os.fsencode(path))
        if not self.pointer:
            raise AdapterError(f"cannot be loaded as an adapter: {reasons.first()}.", path)
        self.path = path
        self._model = model
        model._adapters.append(self)

    def _free(self) -> None:
        for context in self._model._contexts:
            context._drop_adapter(self)
        self._model._adapters.remove(self)
        lc.llama_adapter_lora_free(self.pointer)
