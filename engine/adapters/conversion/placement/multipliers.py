"""Compute the factors from config.json that llama.cpp's converter multiplies into weight rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.errors import AdapterError
from modelfiles.wording import shown

Factors = npt.NDArray[np.float64]
Config = Mapping[str, Any]

_JAIS_TARGETS: Final = {"token_embd", "output"}


def needs_config(kind: str, target: str) -> bool:
    """Return whether the converter multiplies the rows of `target` (a short tensor name)."""
    if kind == "jais":
        return target in _JAIS_TARGETS
    return kind == "falcon-h1" and target != "ffn_up"


def row_factors(kind: str, target: str, n_rows: int, config: Config) -> Factors:
    """Return the factor of each row of the base tensor: float64 (n_rows,).

    Source: `FalconH1Model.modify_tensors`, `JaisModel.__init__`. Raises `AdapterError` if the
    configuration lacks the numbers, or the tensor has no rule.
    """
    if kind == "jais":
        return np.full(n_rows, _jais(target, config))
    if target not in _FALCON_H1:
        raise AdapterError(
            f"The multipliers of {shown(target)} in {kind} models are unknown: take a base "
            "converted without fusing tensors."
        )
    return _FALCON_H1[target](n_rows, config)


def _jais(target: str, config: Config) -> float:
    if target == "token_embd":
        return _number(config, "mup_embeddings_scale", "embeddings_scale")
    if "mup_output_alpha" in config:
        return _number(config, "mup_output_alpha") * _number(config, "mup_width_scale")
    return _number(config, "width_scale")


def _all(*keys: str | tuple[str, int]) -> Callable[[int, Config], Factors]:
    def factors(n_rows: int, config: Config) -> Factors:
        numbers = (
            _number(config, key) if isinstance(key, str) else _item(config, *key) for key in keys
        )
        return np.full(n_rows, math.prod(numbers))

    return factors


def _state_space_rows(n_rows: int, config: Config) -> Factors:
    n_inner = int(_number(config, "mamba_d_ssm"))
    n_state = int(_number(config, "mamba_n_groups") * _number(config, "mamba_d_state"))
    sizes = [n_inner, n_inner, n_state, n_state, n_rows - 2 * n_inner - 2 * n_state]
    if min(sizes) < 0:
        raise AdapterError(
            f"The configuration's mamba_d_ssm {n_inner} does not fit a matrix of {n_rows} rows: "
            "give the config.json of the base itself."
        )
    factors = [_item(config, "ssm_multipliers", part) for part in range(len(sizes))]
    return np.repeat(factors, sizes) * _number(config, "ssm_in_multiplier")


_FALCON_H1: Final[Mapping[str, Callable[[int, Config], Factors]]] = {
    "attn_q": _all("attention_in_multiplier"),
    "attn_k": _all("key_multiplier", "attention_in_multiplier"),
    "attn_v": _all("attention_in_multiplier"),
    "attn_output": _all("attention_out_multiplier"),
    "ffn_gate": _all(("mlp_multipliers", 0)),
    "ffn_up": _all(),
    "ffn_down": _all(("mlp_multipliers", 1)),
    "ssm_in": _state_space_rows,
    "ssm_out": _all("ssm_out_multiplier"),
    "output": _all("lm_head_multiplier"),
    "token_embd": _all("embedding_multiplier"),
}


def _number(config: Config, *keys: str) -> float:
    for key in keys:
        value = config.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    raise _missing(keys[0])


def _item(config: Config, key: str, at: int) -> float:
    values = config.get(key)
    if isinstance(values, (list, tuple)) and at < len(values):
        value = values[at]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    raise _missing(key)


def _missing(key: str) -> AdapterError:
    return AdapterError(
        f"The configuration lacks the number {shown(key)}, a multiplier of the base's weights: "
        "give the config.json of the base itself."
    )
