"""Map the rows and columns of a module's weight to the tensors of a base model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from engine.adapters.conversion.placement import row_orders
from engine.adapters.conversion.placement.architectures import (
    EVERYWHERE,
    Columns,
    Rows,
    Rule,
    Share,
)
from engine.adapters.conversion.placement.base_model import BaseModel, Extent, full_name
from engine.adapters.conversion.placement.row_orders import Order
from engine.adapters.conversion.placement.tensor_names import (
    EXPERT_LISTS,
    IN_EXPERT,
    IN_LAYER,
    LAYER_LISTS,
    SPLIT,
    WHOLE_MODEL,
)
from engine.adapters.foreign.module_names import RowOrder

_IN_LAYER: Final = {name: target for target, names in IN_LAYER.items() for name in names.split()}
_WHOLE: Final = {name: target for target, names in WHOLE_MODEL.items() for name in names.split()}
_IN_EXPERT: Final = {name: target for target, names in IN_EXPERT.items() for name in names.split()}
_LISTS: Final = frozenset(LAYER_LISTS.split())
_LAYER: Final = re.compile(r"(.+?)\.(\d{1,9})\.(.+)")
_ROTARY: Final = ("attn_q", "attn_k")


@dataclass(frozen=True, slots=True)
class Address:
    """A module's path, parsed into its name, layer and expert."""

    name: str
    """For a module in a layer, the path after the layer number; otherwise the whole path."""
    layer: int | None = None
    expert: int | None = None
    """Index of the module's expert; `name` is then the matrix, such as `gate_proj`."""
    is_expert: bool = False
    """Whether the module is in a list of experts, as one expert or as all of them."""
    row_order: RowOrder = RowOrder.HALVES
    """Order of the rows of queries or keys in the module."""


class Form(StrEnum):
    """Form in which a part of the weight is stored in its tensor."""

    ROWS = "as rows"
    LATENT_KEYS = "one transposed matrix per head"
    LATENT_VALUES = "one matrix per head"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a module's weight that are contiguous rows of one base tensor."""

    target: str
    """Full name of the base tensor."""
    start: int
    """Index of the first row in the tensor."""
    rows: Order
    """Row `start + i` of the tensor is row `rows[i]` of the module's weight; shape (n_heads, n) for
    the latent forms."""
    form: Form = Form.ROWS


@dataclass(frozen=True, slots=True)
class Layout:
    """Location of a module's whole weight (n_out, n_in) in the tensors of a base."""

    parts: tuple[Part, ...]
    n_out: int
    n_in: int
    n_experts: int = 0
    """Number of experts that the tensors hold; 0 if they are matrices."""
    expert: int | None = None
    """Index of the expert that the weight belongs to; None for all."""
    columns: Order | None = None
    """Column i of the tensors is column `columns[i]` of the weight; None keeps the order."""


class Misfit(StrEnum):
    """Reason why a module does not fit a base."""

    UNKNOWN = "unknown"
    BEYOND = "beyond the last layer"
    ABSENT = "absent"
    TIED = "tied"
    SIZE = "size"
    AMBIGUOUS = "ambiguous"
    EXPERT = "beyond the last expert"
    RANKS = "halves of different ranks"
    HEADS = "rows of the base that are no whole heads"
    FORM = "a tensor of the base of another form"
    ORDER = "rows in an order that is not known for this base"


class PlaceError(Exception):
    """A module does not fit a base; the planner catches it and words one message for all."""

    def __init__(self, misfit: Misfit, target: str = "", needs: str = "") -> None:
        super().__init__(misfit, target, needs)
        self.misfit = misfit
        self.target = target
        """The base tensor concerned; for `BEYOND`, the base's number of layers."""
        self.needs = needs
        """The matrix shape that would fit; for `EXPERT`, the base's number of experts."""


def address_of(path: str) -> Address | None:
    """Return the address of a module's path, or None for an unknown form."""
    if path in _WHOLE:
        return Address(path)
    match = _LAYER.fullmatch(path)
    if match is None or match[1] not in _LISTS:
        return None
    layer, name = int(match[2]), match[3]
    for experts in EXPERT_LISTS:
        if name == experts:
            return Address("", layer, is_expert=True)
        rest = name.removeprefix(f"{experts}.")
        number, _, inner = rest.partition(".")
        if rest == name or name in _IN_LAYER:
            continue
        if len(number) < 10 and number.isdecimal() and inner in _IN_EXPERT:
            return Address(inner, layer, int(number), is_expert=True)
        if rest in _IN_EXPERT:
            return Address(rest, layer, is_expert=True)
    return Address(name, layer)


def layout_of(address: Address, base: BaseModel) -> Layout:
    """Return the location of the module's weight; raise `PlaceError` if the base has none."""
    n_layers, layer = base.n_layers, address.layer
    rules = rules_of(address, base)
    if not rules:
        is_named = address.name in base.architecture.rules
        raise PlaceError(Misfit.ORDER if is_named else Misfit.UNKNOWN)
    if layer is not None and n_layers is not None and layer >= n_layers:
        raise PlaceError(Misfit.BEYOND, str(n_layers))
    for rule in rules:
        names = _split_names(rule.targets, base, layer)
        extents = [extent for name in names if (extent := base.extent(name, layer))]
        if len(extents) < len(names):
            continue
        if rule.rows is Rows.LATENT:
            return _latent_layout(extents)
        if rule.share is not None:
            return _shared_layout(rule.rows, rule.share, extents[0], base)
        return _row_layout(rule, names, extents, address, base)
    target = full_name(rules[0].targets[0], layer)
    raise PlaceError(Misfit.TIED if rules[0].targets == ("output",) else Misfit.ABSENT, target)


def rules_of(address: Address, base: BaseModel) -> tuple[Rule, ...]:
    """Return the rules for a module, in order of preference, or () if it is unknown."""
    if address.layer is None:
        return (Rule((_WHOLE[address.name],)),)
    if address.is_expert:
        target = _IN_EXPERT.get(address.name)
        rows = base.architecture.experts if target == "ffn_gate_up_exps" else Rows.KEEP
        return (Rule((target,), rows),) if target else ()
    for table in (base.architecture.rules, EVERYWHERE):
        if address.name in table:
            return table[address.name]
    target = _IN_LAYER.get(address.name)
    return (Rule((target,)),) if target else ()


def _split_names(names: tuple[str, ...], base: BaseModel, layer: int | None) -> tuple[str, ...]:
    """Replace a fused tensor by its members if the base lacks it or reorders each member."""
    first = names[0]
    if len(names) > 1 or first not in SPLIT:
        return names
    is_each_ordered = first == "attn_qkv" and base.architecture.is_rotary
    return names if base.tensor(first, layer) and not is_each_ordered else SPLIT[first]


def _row_layout(
    rule: Rule, names: tuple[str, ...], extents: list[Extent], address: Address, base: BaseModel
) -> Layout:
    n_out, n_in = sum(extent.n_rows for extent in extents), extents[0].n_columns
    n_experts = extents[0].tensor.ne[2] if address.is_expert else 0
    for extent in extents:
        if extent.tensor.ne[0] != n_in or extent.tensor.ne[2:] != (n_experts or 1, 1):
            raise PlaceError(Misfit.FORM, extent.tensor.name)
    order = _row_order(rule.rows, n_out, address.layer, base)
    if order.size != n_out:
        raise PlaceError(Misfit.HEADS, extents[0].tensor.name)
    parts, at = [], 0
    for name, extent in zip(names, extents, strict=True):
        rows = order[at : at + extent.n_rows]
        if name in _ROTARY and _is_reordered(address, extent, base):
            rows = rows[_rotary_order(name, extent, address.layer, base)]
        parts.append(Part(extent.tensor.name, extent.start, rows))
        at += extent.n_rows
    columns = _tiled(base, n_in) if rule.columns is Columns.VALUE_HEADS else None
    if columns is not None and columns.size != n_in:
        raise PlaceError(Misfit.HEADS, extents[0].tensor.name)
    return Layout(tuple(parts), n_out, n_in, n_experts, address.expert, columns)


def _shared_layout(rows: Rows, share: Share, extent: Extent, base: BaseModel) -> Layout:
    """Return the layout of a module whose rows lie in runs between those of another one."""
    order = _row_order(rows, extent.n_rows, None, base)
    n_last = base.number(share.n_last)
    if order.size != extent.n_rows or n_last >= order.size:
        raise PlaceError(Misfit.HEADS, extent.tensor.name)
    places = order[-n_last:] if share.is_last else order[:-n_last]
    starts = np.flatnonzero(np.diff(places) != 1) + 1
    runs = np.split(np.arange(places.size, dtype=np.intp), starts)
    parts = tuple(Part(extent.tensor.name, int(places[run[0]]), run) for run in runs)
    return Layout(parts, places.size, extent.n_columns)


def _latent_layout(extents: list[Extent]) -> Layout:
    """Return the layout of `kv_b_proj` in attn_k_b and attn_v_b.

    Source: `DeepseekV2Model.modify_tensors`; attn_k_b has each head's rows transposed.
    """
    keys, values = (extent.tensor for extent in extents)
    if (keys.ne[1], *keys.ne[2:]) != (values.ne[0], *values.ne[2:]):
        raise PlaceError(Misfit.FORM, values.name)
    key_size, n_in, n_heads, _ = keys.ne
    value_size = values.ne[1]
    n_out = n_heads * (key_size + value_size)
    rows = np.arange(n_out, dtype=np.intp).reshape(n_heads, -1)
    parts = (
        Part(keys.name, 0, rows[:, :key_size], Form.LATENT_KEYS),
        Part(values.name, 0, rows[:, key_size:], Form.LATENT_VALUES),
    )
    return Layout(parts, n_out, n_in)


def _is_reordered(address: Address, extent: Extent, base: BaseModel) -> bool:
    """Return whether the base holds queries or keys in another order than the module.

    Raises `PlaceError` if one of the two orders is not known.
    """
    is_rotary, order = base.architecture.is_rotary, address.row_order
    if order is (RowOrder.UNKNOWN if is_rotary else RowOrder.NEIGHBOURS):
        raise PlaceError(Misfit.ORDER, extent.tensor.name)
    return is_rotary and order is RowOrder.HALVES


def _rotary_order(name: str, extent: Extent, layer: int | None, base: BaseModel) -> Order:
    n_heads = base.n_heads(layer)
    if name == "attn_k":
        queries = base.extent("attn_q", layer)
        n_heads = extent.n_rows * n_heads // max(queries.n_rows if queries else 1, 1)
    if n_heads == 0 or extent.n_rows % (2 * n_heads):
        raise PlaceError(Misfit.HEADS, extent.tensor.name)
    return row_orders.rotary_order(extent.n_rows, n_heads)


def _row_order(rows: Rows, n_rows: int, layer: int | None, base: BaseModel) -> Order:
    if rows is Rows.HEADS and n_rows % (3 * base.n_heads(layer)) == 0:
        return row_orders.interleaved_heads_order(n_rows, base.n_heads(layer))
    if rows is Rows.GROUPS:
        n_heads, head_size = base.n_heads(layer), max(base.head_size(layer), 1)
        n_heads_kv = (n_rows // head_size - n_heads) // 2
        is_whole = (n_heads + 2 * n_heads_kv) * head_size == n_rows
        if is_whole and n_heads_kv > 0 and n_heads % n_heads_kv == 0:
            return row_orders.grouped_heads_order(n_rows, n_heads, n_heads_kv)
    if rows is Rows.ALTERNATING and n_rows % 2 == 0:
        return row_orders.alternating_order(n_rows)
    if rows in (Rows.LINEAR_HEADS, Rows.SCALAR_HEADS):
        n_keys, n_values = base.number("ssm.group_count"), base.number("ssm.time_step_rank")
        sizes: tuple[int, ...] = (n_values // n_keys,) * 2
        if rows is Rows.LINEAR_HEADS:
            value_size = base.number("ssm.inner_size") // n_values
            sizes = (base.number("ssm.state_size"),) * 2 + (sizes[0] * value_size,) * 2
        if n_keys * sum(sizes) == n_rows and n_values % n_keys == 0:
            return row_orders.linear_attention_order(n_keys, sizes)
    if rows in (Rows.VALUE_HEADS, Rows.VALUE_SCALARS):
        return _tiled(base, n_rows)
    if rows is Rows.QKV_VALUE_HEADS:
        n_before = 2 * base.number("ssm.group_count") * base.number("ssm.state_size")
        values = _tiled(base, n_rows - n_before)
        if values.size:
            return np.concatenate([np.arange(n_before, dtype=np.intp), n_before + values])
    return np.arange(n_rows if rows is Rows.KEEP else 0, dtype=np.intp)


def _tiled(base: BaseModel, n_rows: int) -> Order:
    n_keys, n_values = base.number("ssm.group_count"), base.number("ssm.time_step_rank")
    if n_rows <= 0 or n_rows % n_values or n_values % n_keys:
        return np.arange(0, dtype=np.intp)
    return row_orders.tiled_heads_order(n_keys, n_values, n_rows // n_values)
