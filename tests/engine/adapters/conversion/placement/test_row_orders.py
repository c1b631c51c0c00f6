"""Orders of rows and columns against plain loops, and their way back."""

import numpy as np
import pytest

from engine.adapters.conversion.placement import row_orders
from tests.support.row_loops import groups_apart, heads_apart, permuted, tiled

WEIGHT = np.arange(48 * 3, dtype=np.float32).reshape(48, 3)


def test_the_rotary_order_mixes_the_halves_of_each_head() -> None:
    order = row_orders.rotary_order(8, 2)
    assert order.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("n_heads", [1, 2, 6, 12])
def test_the_rotary_order_is_that_of_a_loop_over_heads(n_heads: int) -> None:
    order = row_orders.rotary_order(48, n_heads)
    assert np.array_equal(row_orders.rows_of(WEIGHT, order), permuted(WEIGHT, n_heads))


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_interleaved_heads_come_apart_into_all_q_all_k_all_v(n_heads: int) -> None:
    order = row_orders.interleaved_heads_order(48, n_heads)
    assert np.array_equal(row_orders.rows_of(WEIGHT, order), heads_apart(WEIGHT, n_heads))


@pytest.mark.parametrize(("n_heads", "n_heads_kv"), [(6, 3), (4, 4), (10, 1)])
def test_groups_of_heads_come_apart_into_all_q_all_k_all_v(n_heads: int, n_heads_kv: int) -> None:
    order = row_orders.grouped_heads_order(48, n_heads, n_heads_kv)
    expected = np.concatenate(groups_apart(WEIGHT, n_heads, n_heads_kv))
    assert np.array_equal(row_orders.rows_of(WEIGHT, order), expected)


@pytest.mark.parametrize(("n_keys", "n_values"), [(2, 6), (4, 8), (3, 3)])
def test_value_heads_are_tiled_over_the_key_heads(n_keys: int, n_values: int) -> None:
    order = row_orders.tiled_heads_order(n_keys, n_values, 48 // n_values)[:48]
    assert np.array_equal(row_orders.rows_of(WEIGHT, order), tiled(WEIGHT, n_keys, n_values))


def test_linear_attention_comes_apart_into_q_k_v_z() -> None:
    order = row_orders.linear_attention_order(2, (1, 1, 4, 4))
    # Two key heads, each of one row q, one row k, four rows v, four rows z.
    assert order.tolist() == [
        0,
        10,
        1,
        11,
        *range(2, 6),
        *range(12, 16),
        *range(6, 10),
        16,
        17,
        18,
        19,
    ]


def test_alternating_rows_come_apart_into_even_and_odd() -> None:
    assert row_orders.alternating_order(6).tolist() == [0, 2, 4, 1, 3, 5]


def test_rows_of_a_run_are_a_view() -> None:
    rows = row_orders.rows_of(WEIGHT, np.arange(10, 20, dtype=np.intp))
    assert np.shares_memory(rows, WEIGHT)
    assert np.array_equal(rows, WEIGHT[10:20])


def test_columns_come_back_to_where_they_were() -> None:
    order = row_orders.tiled_heads_order(2, 6, 8)
    there = row_orders.columns_of(WEIGHT.T, order)
    assert not np.array_equal(there, WEIGHT.T)
    assert np.array_equal(row_orders.columns_back(there, order), WEIGHT.T)
