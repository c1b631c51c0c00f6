"""Convert the pair of a base tensor back into the transformers modules that it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.adapters.conversion.placement import row_orders
from engine.adapters.conversion.placement.base_model import BaseModel, known_base
from engine.adapters.conversion.placement.layout import (
    Address,
    Form,
    Layout,
    Part,
    PlaceError,
    address_of,
    layout_of,
)
from engine.adapters.conversion.placement.plan import Floats
from engine.adapters.foreign.source import ModuleKind
from engine.adapters.peft_export.namings import NAMINGS, Naming
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from modelfiles.wording import shown

_IN_LAYER: Final = re.compile(r"blk\.(\d+)\.(.+)\.weight")
_PARAMETERS: Final = ("gate_up_proj", "down_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class PeftModule:
    """The pair of one module, named and oriented as in PEFT; see `LoraModule`."""

    path: str
    """Module path; for EXPERTS, followed by the parameter's name."""
    kind: ModuleKind
    a: Floats
    b: Floats


def peft_modules(target: str, a: Floats, b: Floats, base: GgufHeader) -> tuple[PeftModule, ...]:
    """Return the modules whose deltas together are `b @ a` on the base tensor `target`.

    `a` is (n_experts, rank, n_in) and `b` (n_experts, n_out, rank), or both without their first
    dimension, in the orientation of the tensor, as in `engine.adapters.factors.Factors`; for the
    token embedding, too, `b @ a` is the delta of (n_vocab, n_embd). One module may come from
    several targets, such as `gate_up_proj` of experts from gate and from up; see `joined`. Raises
    `AdapterError` if the names in transformers are unknown, or rows have no module.
    """
    model = known_base(base)
    naming = NAMINGS.get(model.architecture.naming)
    if naming is None or target not in base.tensors:
        raise AdapterError(
            f"The tensor {shown(target)} of {model.name} models cannot be turned back into a "
            "module of transformers, whose name is not known: keep the adapter as a GGUF file."
        )
    if base.tensors[target].ne[2] == 1 and a.ndim == 3:
        a, b = a[0], b[0]
    return tuple(_modules(target, a, b, model, naming))


def joined(modules: Iterable[PeftModule]) -> tuple[PeftModule, ...]:
    """Return one module for each path, in order of first occurrence.

    Modules of one path with equal `a`, as the parts of one fused module have, keep their rank;
    others are concatenated, and their ranks add up.
    """
    by_path: dict[str, PeftModule] = {}
    for module in modules:
        first = by_path.get(module.path)
        by_path[module.path] = module if first is None else _join(first, module)
    return tuple(by_path.values())


def _join(first: PeftModule, second: PeftModule) -> PeftModule:
    if np.array_equal(first.a, second.a):
        return PeftModule(first.path, first.kind, first.a, first.b + second.b)
    a = np.concatenate([first.a, second.a], axis=-2)
    b = np.concatenate([first.b, second.b], axis=-1)
    return PeftModule(first.path, first.kind, a, b)


def _modules(
    target: str, a: Floats, b: Floats, base: BaseModel, naming: Naming
) -> Iterator[PeftModule]:
    if target == "token_embd.weight":
        table = np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)
        yield PeftModule(naming.embedding, ModuleKind.EMBEDDING, *table)
        return
    is_open = np.ones(b.shape[-2], dtype=np.bool_)
    for path, kind, address in _candidates(target, naming):
        try:
            layout = layout_of(address, base)
        except PlaceError:
            continue
        parts = [part for part in layout.parts if part.target == target]
        if not parts:
            continue
        back = _from_latent(a, b, parts[0], layout) or _from_rows(a, b, parts, layout)
        for part in parts:
            is_open[part.start : part.start + part.rows.shape[-1]] = False
        yield PeftModule(path, kind, *(_as_kind(half, kind) for half in back))
        if parts[0].form is not Form.ROWS or not is_open.any():
            return
    if b[..., is_open, :].any():
        raise AdapterError(
            f"Rows of the tensor {shown(target)} cannot be turned back: no module of {base.name} "
            "models in transformers is known to make them; keep the adapter as a GGUF file."
        )


def _candidates(target: str, naming: Naming) -> Iterator[tuple[str, ModuleKind, Address]]:
    """Yield path, kind and address of each module in the layer of `target`, or of the head."""
    match = _IN_LAYER.fullmatch(target)
    if match is None:
        yield naming.head, ModuleKind.LINEAR, Address(naming.head)
        return
    prefix = f"{naming.layers}.{match[1]}"
    if match[2].endswith("_exps"):
        for name in _PARAMETERS if naming.experts else ():
            path = f"{prefix}.{naming.experts}.{name}"
            yield path, ModuleKind.EXPERTS, Address(name, int(match[1]), is_expert=True)
        return
    for name in naming.modules:
        path = f"{prefix}.{name}"
        address = address_of(path.removesuffix(".weight"))
        is_parameter = name.endswith(".weight")
        if address is not None:
            yield path, ModuleKind.EXPERTS if is_parameter else ModuleKind.LINEAR, address


def _as_kind(half: Floats, kind: ModuleKind) -> Floats:
    """Add an expert dimension to a matrix that PEFT treats as one expert, such as a router's."""
    is_single = kind is ModuleKind.EXPERTS and half.ndim == 2
    return np.ascontiguousarray(half[None] if is_single else half)


def _from_rows(a: Floats, b: Floats, parts: list[Part], layout: Layout) -> tuple[Floats, Floats]:
    back = np.zeros((*b.shape[:-2], layout.n_out, b.shape[-1]), np.float32)
    for part in parts:
        back[..., part.rows, :] = b[..., part.start : part.start + part.rows.size, :]
    if layout.columns is not None:
        a = row_orders.columns_back(a, layout.columns)
    if b.ndim == 2 and sum(part.rows.size for part in parts) < len(b):
        # With q, k and v in one tensor, each has the ranks of all three, zero for the others.
        used = np.flatnonzero(back.any(axis=0))
        used = used if used.size else np.zeros(1, np.intp)
        a, back = a[used], back[:, used]
    return a, back


def _from_latent(a: Floats, b: Floats, part: Part, layout: Layout) -> tuple[Floats, Floats] | None:
    """Return the pair of `kv_b_proj` that attn_k_b or attn_v_b came from; None for other forms."""
    if part.form is Form.ROWS:
        return None
    if part.form is Form.LATENT_KEYS:
        a, b = b.swapaxes(1, 2), a.swapaxes(1, 2)
    if not np.array_equal(a, np.broadcast_to(a[:1], a.shape)):
        raise AdapterError(
            f"The tensor {shown(part.target)} cannot be turned back into kv_b_proj, because its "
            "heads no longer share one factor: turn the stack back before it is compressed."
        )
    back = np.zeros((layout.n_out, b.shape[-1]), np.float32)
    back[part.rows] = b
    return a[0], back
