"""Convert the layers of an Ollama model to a `Model`, or say why it cannot be run here."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from modelfiles.errors import OllamaError
from modelfiles.model import AdapterSpec, Kept, Model
from modelfiles.ollama.records import (
    Layer,
    OllamaConfig,
    OllamaManifest,
    decode,
    decode_messages,
    decode_parameters,
)
from modelfiles.parameters import Parameters
from modelfiles.references.model_name import ModelName
from modelfiles.wording import printable

MAX_TEXT_BYTES = 16 * 2**20
"""Longest text layer that is read into memory; nobody writes a longer one by hand."""


class LayerReader:
    """Reads the files of one model in Ollama's blob folder; every error names the model."""

    def __init__(self, blobs: Path, name: ModelName) -> None:
        self._blobs = blobs
        self._name = name

    def model(self, manifest: OllamaManifest, display: str) -> Model:
        """Return the model under the name `display`, with the paths of its blobs.

        Adapters have scale 1.0. Raises `OllamaError` if the model cannot be run here, or if a
        file of it is missing, incomplete or unreadable.
        """
        config = decode(self._text(manifest.config), OllamaConfig, f"{self._what}: its config")
        self._require_local(manifest, config)
        parameters = Parameters()
        for layer in manifest.of_kind("params"):
            what = f"{self._what}: its list of parameters"
            parameters = decode_parameters(self._text(layer), what).over(parameters)
        messages = [
            message
            for layer in manifest.of_kind("messages")
            for message in decode_messages(self._text(layer), f"{self._what}: its messages")
        ]
        return Model(
            name=display,
            base=self._path(manifest.of_kind("model")[-1], "its weights"),
            adapters=self._adapters(manifest.of_kind("adapter")),
            parameters=parameters,
            system=self._last_text(manifest.of_kind("system")),
            template=self._last_text(manifest.of_kind("template", "prompt")),
            messages=tuple(messages),
            licenses=tuple(self._string(layer) for layer in manifest.of_kind("license")),
            kept=Kept(
                config.renderer or None,
                config.parser or None,
                config.requires or None,
                tuple(self._path(layer, "its draft model") for layer in manifest.of_kind("draft")),
            ),
        )

    @property
    def _what(self) -> str:
        return f"model {self._name.display} of Ollama"

    def _require_local(self, manifest: OllamaManifest, config: OllamaConfig) -> None:
        if config.remote_host or config.remote_model:
            raise OllamaError(
                f"{self._what} runs in Ollama's cloud and has no weights on this machine;"
                " choose a model that was pulled whole"
            )
        model_format = config.model_format or "gguf"
        if model_format == "gguf" and manifest.of_kind("model"):
            return
        if model_format == "safetensors" or manifest.of_kind("tensor"):
            raise OllamaError(
                f"{self._what} is stored as safetensors, which llama.cpp cannot run;"
                " pull a GGUF version of it"
            )
        if model_format != "gguf":
            raise OllamaError(
                f'{self._what} has the format "{printable(model_format)[:40]}", which cannot be'
                " run here; pull a GGUF version of it"
            )
        raise OllamaError(f"{self._what} has no weights among its files; {self._pull_again}")

    def _adapters(self, layers: list[Layer]) -> tuple[AdapterSpec, ...]:
        paths = [self._path(layer, "its adapter") for layer in layers]
        names = ["adapter", *(f"adapter-{number}" for number in range(2, len(paths) + 1))]
        return tuple(AdapterSpec(name, path) for name, path in zip(names, paths, strict=False))

    def _last_text(self, layers: list[Layer]) -> str | None:
        return self._string(layers[-1]) or None if layers else None

    def _string(self, layer: Layer) -> str:
        return self._text(layer).decode("utf-8", "replace")

    def _text(self, layer: Layer) -> bytes:
        path = self._path(layer, "one of its files")
        if layer.size > MAX_TEXT_BYTES:
            raise OllamaError(f"{self._what} has a text of {layer.size} bytes, too long for one")
        try:
            return path.read_bytes()
        except OSError as error:
            raise OllamaError(
                f"{self._what} has a file that cannot be read: {error.strerror or error}"
            ) from None

    def _path(self, layer: Layer, part: str) -> Path:
        """Return the blob of a layer; raises `OllamaError` unless it is complete and readable."""
        hexadecimal = layer.digest[len("sha256-") :]
        # Very old stores have a colon in their file names.
        candidates = [self._blobs / f"sha256{mark}{hexadecimal}" for mark in "-:"]
        for path in candidates:
            try:
                status = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise self._unreadable(part, error.strerror or str(error)) from None
            if not stat.S_ISREG(status.st_mode):
                raise self._unreadable(part, "not a file")
            if status.st_size != layer.size:
                raise OllamaError(
                    f"{self._what} is incomplete: the file of {part} has {status.st_size} of"
                    f" {layer.size} bytes; {self._pull_again}"
                )
            if not os.access(path, os.R_OK):
                raise self._unreadable(part, "permission denied")
            return path
        partial = candidates[0].with_name(f"{candidates[0].name}-partial")
        if partial.exists():
            raise OllamaError(f"{self._what} is downloaded only in part; {self._pull_again}")
        raise OllamaError(
            f"{self._what} is damaged: the file of {part} is missing; {self._pull_again}"
        )

    def _unreadable(self, part: str, reason: str) -> OllamaError:
        return OllamaError(f"{self._what} is damaged: the file of {part} cannot be read: {reason}")

    @property
    def _pull_again(self) -> str:
        return f"'ollama pull {self._name.display}' brings it back"
