"""The manifest of a stored model: its settings and the digests of its blobs, as JSON."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from modelfiles.errors import StoreError
from modelfiles.model import AdapterSpec, Kept, ListedModel, Message, Model, Origin
from modelfiles.parameters import Parameters
from modelfiles.references.split_files import shards_of
from modelfiles.store.blobs import Blob, BlobFolder

VERSION = 1


class AdapterEntry(msgspec.Struct, frozen=True):
    """An adapter of a stored model."""

    name: str
    scale: float
    blob: Blob


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model by content, without paths or times, so that equal models have equal manifests."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    base: Blob
    """The base; for a split model, its first shard."""
    base_parts: tuple[Blob, ...] = ()
    """The other shards of a split model, in order."""
    adapters: tuple[AdapterEntry, ...] = ()
    parameters: Parameters = msgspec.field(default_factory=Parameters)
    system: str | None = None
    template: str | None = None
    messages: tuple[Message, ...] = ()
    licenses: tuple[str, ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    drafts: tuple[Blob, ...] = ()

    @classmethod
    def of(cls, model: Model, blobs: dict[Path, Blob]) -> Manifest:
        """Return the manifest of `model`; `blobs` holds the blob of each of its files."""
        return cls(
            version=VERSION,
            base=blobs[model.base],
            base_parts=tuple(blobs[path] for path in shards_of(model.base)[1:]),
            adapters=tuple(AdapterEntry(a.name, a.scale, blobs[a.path]) for a in model.adapters),
            parameters=model.parameters,
            system=model.system,
            template=model.template,
            messages=model.messages,
            licenses=model.licenses,
            renderer=model.kept.renderer,
            parser=model.kept.parser,
            requires=model.kept.requires,
            drafts=tuple(blobs[path] for path in model.kept.drafts),
        )

    def to_model(self, name: str, blobs: BlobFolder) -> Model:
        """Return the model, with the paths of its blobs."""
        return Model(
            name=name,
            base=blobs.base_path(self.base_blobs),
            adapters=tuple(
                AdapterSpec(a.name, blobs.path_of(a.blob), a.scale) for a in self.adapters
            ),
            parameters=self.parameters,
            system=self.system,
            template=self.template,
            messages=self.messages,
            licenses=self.licenses,
            kept=Kept(
                self.renderer, self.parser, self.requires, tuple(map(blobs.path_of, self.drafts))
            ),
        )

    def listed(self, name: str, modified: datetime, origin: Origin) -> ListedModel:
        """Return the facts about the model that `tui list` shows."""
        n_adapters = len(self.adapters)
        return ListedModel(name, self.model_id, self.size_bytes, modified, origin, n_adapters)

    @property
    def base_blobs(self) -> tuple[Blob, ...]:
        """The blobs of all shards of the base."""
        return (self.base, *self.base_parts)

    @property
    def parts(self) -> list[tuple[str, Blob]]:
        """The blob of every file, each with a phrase that names the file in messages."""
        return [
            *(("its base", blob) for blob in self.base_blobs),
            *((f"its adapter {entry.name}", entry.blob) for entry in self.adapters),
            *(("its draft model", blob) for blob in self.drafts),
        ]

    @property
    def size_bytes(self) -> int:
        """Total size of the model's files, each content counted once."""
        return sum(blob.size_bytes for blob in {blob for _, blob in self.parts})

    def encode(self) -> bytes:
        """Return the bytes of the manifest's file; equal manifests give equal bytes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @property
    def model_id(self) -> str:
        """The first 12 hex digits of the SHA-256 of the manifest's file."""
        return hashlib.sha256(self.encode()).hexdigest()[:12]


def decode(data: bytes, what: str) -> Manifest:
    """Decode a manifest's file; raises `StoreError`, whose text begins with `what`."""

    class Stamp(msgspec.Struct):
        version: int

    try:
        if msgspec.json.decode(data, type=Stamp).version > VERSION:
            raise StoreError(f"{what} was written by a newer version of this program; update it")
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{what} has a manifest that cannot be read: {error}") from None
