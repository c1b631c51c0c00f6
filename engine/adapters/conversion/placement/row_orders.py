"""Compute the row and column orders that llama.cpp's converter applies to weights.

An order is an array of indices: row i of the GGUF tensor is row `order[i]` of the module's weight.
The delta `b @ a` of a LoRA pair has the rows of b and the columns of a, so reordering rows changes
only b, reordering columns only a, and no base weight is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float32]


def rows_of(b: Floats, order: Order) -> Floats:
    """Return the rows `order` of `b` (..., n_out, rank), in that order."""
    if _is_run(order):  # a view, as most modules are only renamed and some have 128,256 rows
        return b[..., order[0] : order[-1] + 1, :]
    taken: Floats = np.take(b, order, axis=-2)
    return taken


def columns_of(a: Floats, order: Order) -> Floats:
    """Return the columns `order` of `a` (..., rank, n_in), in that order."""
    taken: Floats = np.take(a, order, axis=-1)
    return taken


def columns_back(a: Floats, order: Order) -> Floats:
    """Return `a` (..., rank, n_in) with column i moved to `order[i]`: undo `columns_of`."""
    back = np.empty_like(a)
    back[..., order] = a
    return back


def rotary_order(n_rows: int, n_heads: int) -> Order:
    """Return the order that interleaves the two halves of each head.

    Source: `LlamaModel.permute`. transformers rotates entry i of a head with entry
    i + head_size / 2, llama.cpp's plain rotary embedding with its neighbour. `n_heads` is the
    number of heads in this tensor: for keys, the number of key heads.
    """
    return _indices(n_rows).reshape(n_heads, 2, -1).swapaxes(1, 2).reshape(n_rows)


def interleaved_heads_order(n_rows: int, n_heads: int) -> Order:
    """Return the order from (head, q or k or v, row) to all q, all k, all v.

    Source: `BloomModel.modify_tensors`, `GPTNeoXModel.modify_tensors`.
    """
    return _indices(n_rows).reshape(n_heads, 3, -1).swapaxes(0, 1).reshape(n_rows)


def grouped_heads_order(n_rows: int, n_heads: int, n_heads_kv: int) -> Order:
    """Return the order from (key head, its queries then k then v, row) to all q, all k, all v.

    Source: `FalconModel.modify_tensors`; `InternLM2Model.modify_tensors` before it permutes.
    """
    per_group = n_heads // n_heads_kv
    grouped = _indices(n_rows).reshape(n_heads_kv, per_group + 2, -1)
    parts = (grouped[:, :per_group], grouped[:, per_group], grouped[:, per_group + 1])
    return np.concatenate([part.reshape(-1) for part in parts])


def linear_attention_order(n_key_heads: int, sizes: Sequence[int]) -> Order:
    """Return the order from (key head, part, row) to all rows of each part in turn.

    `sizes` are the numbers of a key head's rows: of q, k, v and z, or of b and a. Source:
    `Qwen3NextModel.modify_tensors`, `in_proj_qkvz`.
    """
    grouped = _indices(n_key_heads * sum(sizes)).reshape(n_key_heads, -1)
    parts = np.split(grouped, np.cumsum(sizes)[:-1], axis=1)
    return np.concatenate([part.reshape(-1) for part in parts])


def tiled_heads_order(n_key_heads: int, n_value_heads: int, head_size: int) -> Order:
    """Return the order from value heads grouped by key head to tiled over the key heads.

    Source: `_LinearAttentionVReorderBase._reorder_v_heads` (Qwen3.5).
    """
    n_rows = n_value_heads * head_size
    grouped = _indices(n_rows).reshape(n_key_heads, -1, head_size)
    return grouped.swapaxes(0, 1).reshape(n_rows)


def alternating_order(n_rows: int) -> Order:
    """Return the order of all even rows, then all odd rows.

    Source: `GptOssModel.modify_tensors`, where gate and up alternate.
    """
    return _indices(n_rows).reshape(-1, 2).swapaxes(0, 1).reshape(n_rows)


def _is_run(order: Order) -> bool:
    return order.size > 0 and bool((np.diff(order) == 1).all())


def _indices(n: int) -> Order:
    return np.arange(n, dtype=np.intp)
