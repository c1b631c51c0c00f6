"""Export a stack of adapters as one PEFT folder, for programs that serve PEFT adapters.

Every module has the same rank, padded with zeros where it needs less, and alpha equals the rank:
so the scale is 1 everywhere, `rank_pattern` is empty, and servers that read a single rank (vLLM,
SGLang, LoRAX) load the folder. Source: `LoraConfig`, `ParamWrapper` and
`set_peft_model_state_dict` of PEFT, `PEFTHelper` of vLLM.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from engine.adapters.factors import Factors
from engine.adapters.foreign.source import ModuleKind
from engine.adapters.fusing.compress import compressed_factors, stacked
from engine.adapters.fusing.energy import ModuleEnergy
from engine.adapters.fusing.spool import FloatType, Spool, Spooled
from engine.adapters.peft_export.inverse import PeftModule, joined, peft_modules
from engine.adapters.peft_export.names import PeftNames
from engine.adapters.peft_export.safetensors_writer import DtypeName, SafeTensor, write_safetensors
from engine.adapters.scaled_adapter import FusePart
from engine.disk.whole_output import new_folder
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader

WEIGHTS_NAME: Final = "adapter_model.safetensors"
CONFIG_NAME: Final = "adapter_config.json"
CARD_NAME: Final = "README.md"
_REPOSITORY: Final = re.compile(r"(?:https?://huggingface\.co/)?([\w.-]+/[\w.-]+)/?")
_REPOSITORY_KEYS: Final = (
    "general.source.huggingface.repository",
    "general.source.repo_url",
    "general.source.url",
    "general.repo_url",
    "general.url",
    "general.base_model.0.repo_url",
)
_DTYPES: Final[dict[FloatType, DtypeName]] = {GgmlType.F32: "F32", GgmlType.F16: "F16"}

Floats = npt.NDArray[np.float32]
OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class PeftFolder:
    """A written PEFT folder and its properties."""

    path: Path
    size_bytes: int
    rank: int
    """The rank of every module."""
    targets: tuple[str, ...]
    """`target_modules` and `target_parameters` of the configuration."""
    modules: tuple[ModuleEnergy, ...]
    """Rank and energy kept of each module's delta, by its path in transformers."""
    notices: tuple[str, ...] = ()
    """Warnings about programs that cannot load the folder, one sentence each."""

    @property
    def is_whole(self) -> bool:
        """Whether the folder holds the whole stack without loss."""
        return all(module.energy.kept == module.energy.total for module in self.modules)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A module whose halves are in a spool, at the module's own rank."""

    path: str
    kind: ModuleKind
    a: Spooled
    b: Spooled


def base_repository(base: GgufHeader) -> str | None:
    """Return the Hub repository that a base's metadata names, as `org/name`, or None.

    Prefers the repository it was converted from, then its own, then that of its base model.
    """
    for key in _REPOSITORY_KEYS:
        match = _REPOSITORY.fullmatch(base.text(key) or "")
        if match is not None:
            return match[1]
    return None


def write_peft_folder(
    parts: Sequence[FusePart],
    base: GgufHeader,
    out: Path,
    *,
    rank: int | None = None,
    type_: FloatType = GgmlType.F16,
    base_name: str = "",
    card: Callable[[int, Sequence[ModuleEnergy]], str] = lambda *_: "",
    on_progress: OnProgress = lambda *_: None,
) -> PeftFolder:
    """Write a PEFT folder that is equivalent to `parts` on `base`, or approximates them at `rank`.

    Converts names, row orders and split or fused tensors from llama.cpp's form to that of
    transformers. Replaces an existing folder `out`; leaves no partial folder behind.

    Args:
        parts: Adapters with their scales; those at scale 0 are skipped.
        base: The base of the adapters, whose header determines the row orders.
        rank: The maximum rank of a module's delta; None for no limit.
        type_: Type of the weights; F32 if F16 cannot hold a tensor.
        base_name: `base_model_name_or_path` of the configuration.
        card: Returns the README for the folder's rank and the energy kept of its modules.
        on_progress: Called with the current tensor or module and the fraction done, 0 to 1; may
            raise to cancel.

    Raises:
        AdapterError: There is nothing to fuse, the parts are incompatible, or a changed tensor has
            no name in PEFT.
        GgufError: A file cannot be read, or changed since its header was read.
        EngineError: `out` cannot be written.
    """
    with Spool(out.parent) as pieces, Spool(out.parent) as spool:
        by_path: dict[str, list[_Waiting]] = {}
        for factors in stacked(parts, lambda name, done: on_progress(name, done / 2)):
            for module in peft_modules(factors.target, factors.a, factors.b, base):
                waiting = _put(pieces, module, GgmlType.F32)
                by_path.setdefault(module.path, []).append(waiting)
        modules: list[_Waiting] = []
        energies: list[ModuleEnergy] = []
        for index, (path, members) in enumerate(by_path.items()):
            on_progress(path, 0.5 + index / len(by_path) / 2)
            # Compress only here: a module that spans several tensors has the sum of their ranks.
            module, energy = _compressed(_joined(members, pieces), rank)
            modules.append(_put(spool, module, type_))
            energies.append(energy)
        folder_rank = max(energy.rank for energy in energies)
        names = PeftNames.of([(module.path, module.kind) for module in modules], base)
        with new_folder(out, "The PEFT folder") as folder:
            tensors = [
                tensor
                for module in modules
                for tensor in _tensors(module, names, spool, folder_rank)
            ]
            write_safetensors(folder / WEIGHTS_NAME, tensors, {"format": "pt"})
            config = _config(folder_rank, names, base, base_name)
            encoded = msgspec.json.format(msgspec.json.encode(config), indent=2)
            (folder / CONFIG_NAME).write_bytes(encoded + b"\n")
            (folder / CARD_NAME).write_text(card(folder_rank, energies), "utf-8")
    size_bytes = sum(path.stat().st_size for path in out.iterdir())
    targets = (*names.modules, *names.parameters)
    notices = tuple(_notices(names.mistaken(base)))
    return PeftFolder(out, size_bytes, folder_rank, targets, tuple(energies), notices)


def _notices(mistaken: Sequence[str]) -> Iterator[str]:
    if mistaken:
        yield (
            f"PEFT takes {', '.join(mistaken)} for parts of the experts and does not load this "
            "folder with transformers 5; programs that go by the names of the weights do."
        )


def _put(spool: Spool, module: PeftModule, type_: FloatType) -> _Waiting:
    a = spool.put(f"{module.path}.a", module.a, type_)
    b = spool.put(f"{module.path}.b", module.b, type_)
    return _Waiting(module.path, module.kind, a, b)


def _joined(members: Sequence[_Waiting], spool: Spool) -> PeftModule:
    """Read the parts of one module back and join them."""
    (module,) = joined(
        PeftModule(m.path, m.kind, spool.values(m.a), spool.values(m.b)) for m in members
    )
    return module


def _compressed(module: PeftModule, rank: int | None) -> tuple[PeftModule, ModuleEnergy]:
    """Return a module of at most `rank`, and the energy kept."""
    a, b = (half.reshape(-1, *half.shape[-2:]) for half in (module.a, module.b))
    found = compressed_factors(Factors(module.path, a, b), rank)
    a, b = found.factors.a, found.factors.b
    if module.a.ndim == 2:
        a, b = a[0], b[0]
    return PeftModule(module.path, module.kind, a, b), found.module


def _tensors(module: _Waiting, names: PeftNames, spool: Spool, rank: int) -> Iterator[SafeTensor]:
    """Yield both halves as PEFT stores them, padded to `rank` with zeros."""
    n_experts = module.a.shape[0] if len(module.a.shape) == 3 else 1
    n_in, n_out = module.a.shape[-1], module.b.shape[-2]
    shapes = (n_experts * rank, n_in), (n_out, n_experts * rank)
    stored = _stored_a, _stored_b
    both = zip(
        names.keys(module.path, module.kind), shapes, stored, (module.a, module.b), strict=True
    )
    for name, shape, function, item in both:
        n_bytes = shape[0] * shape[1] * (4 if item.type is GgmlType.F32 else 2)
        chunks = partial(function, spool, item, rank)
        yield SafeTensor(name, shape, _DTYPES[item.type], n_bytes, chunks)


def _stored_a(spool: Spool, item: Spooled, rank: int) -> Iterator[bytes]:
    """Yield A; for experts, one expert's rows after the other's (`ParamWrapper`)."""
    values = spool.stored(item)
    filled = np.zeros((*values.shape[:-2], rank, values.shape[-1]), values.dtype)
    filled[..., : values.shape[-2], :] = values
    yield filled.tobytes()


def _stored_b(spool: Spool, item: Spooled, rank: int) -> Iterator[bytes]:
    """Yield B; for experts, the first column of each, then the second of each, and so on."""
    values = spool.stored(item)
    filled = np.zeros((*values.shape[:-1], rank), values.dtype)
    filled[..., : values.shape[-1]] = values
    yield (filled if filled.ndim == 2 else filled.transpose(1, 2, 0)).tobytes()


def _config(rank: int, names: PeftNames, base: GgufHeader, base_name: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "alpha_pattern": {},
        "base_model_name_or_path": base_name or None,
        "bias": "none",
        # GPT-2's layers store their weights transposed; PEFT reads that from this field.
        "fan_in_fan_out": base.architecture == "gpt2",
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": list(names.modules),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    if names.parameters:
        config["target_parameters"] = list(names.parameters)
    return config
