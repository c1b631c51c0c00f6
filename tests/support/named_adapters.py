"""Adapters that one name may mean: in a stack, on disk in every form, pulled, on a hub."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelfiles.model import AdapterSpec, Model
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters
from tests.support.peft_folders import pair, write_mlx, write_peft
from tests.support.tiny_models import write_adapter, write_base

NAME = "pirate"
MODULES = {"model.layers.0.self_attn.q_proj": pair(64, 64, 4, 1)}


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder with a base and adapters far from where names are looked up."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "far" / "base.gguf"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def stacked(self) -> Path:
        """The adapter in the model's stack."""
        return self.folder / "far" / "stacked.gguf"

    @property
    def pulled(self) -> Path:
        """The adapter that was pulled."""
        return self.folder / "far" / "pulled.gguf"

    @property
    def model(self) -> Model:
        return Model("mine:latest", self.base, (AdapterSpec(NAME, self.stacked, 0.5),))

    def pull(self, path: Path, name: str = NAME) -> PulledAdapter:
        """Record an adapter as pulled."""
        return PulledAdapters(self.home).put(
            PulledAdapter(
                name=name,
                repo=f"ann/{name}",
                revision="0" * 40,
                file="adapter_model.safetensors" if path.is_dir() else path.name,
                kind="peft" if path.is_dir() else "gguf",
                path=str(path),
                size_bytes=1,
                pulled=datetime.now(UTC),
            )
        )

    def file(self, name: str = NAME, seed: int = 3) -> Path:
        """Write a GGUF adapter in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_adapter(path, self.base, seed=seed)

    def peft(self, name: str = NAME) -> Path:
        """Write a PEFT adapter in the folder."""
        return write_peft(self.folder / name, MODULES, alpha=8, r=4)

    def mlx(self, name: str = NAME) -> Path:
        """Write an MLX adapter in the folder."""
        return write_mlx(self.folder / name, MODULES, scale=2.0, r=4)


def shelf_in(folder: Path) -> Shelf:
    """Write the base, the adapter of the stack and the pulled one; nothing is pulled yet."""
    shelf = Shelf(folder)
    shelf.base.parent.mkdir(parents=True)
    write_base(shelf.base)
    write_adapter(shelf.stacked, shelf.base, seed=1)
    write_adapter(shelf.pulled, shelf.base, seed=2)
    return shelf
