"""Tiny random models of transformers with random PEFT adapters on them, the same every time."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray

from tests.references.architecture_table import N_VOCAB, Architecture
from tests.support.seeded_values import LORA_SIZE, random_of

Floats = NDArray[np.float32]

N_TOKENS = 12


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """How the PEFT adapter of a folder is made."""

    rank: int
    alpha: int
    modules: tuple[str, ...] = ()
    """The modules that get the adapter; none for those of the architecture."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """What the weights are stored in, and rounded to before anything is computed."""
    is_pickled: bool = False
    """Whether the weights are stored in torch's own format instead of safetensors."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Further arguments of `peft.LoraConfig`."""


SOME = ("q_proj", "k_proj", "down_proj")
STORAGE = {
    "embedding": AdapterKind(4, 8, ("q_proj", "embed_tokens", "lm_head")),
    "float16": AdapterKind(4, 8, SOME, dtype="float16"),
    "bfloat16": AdapterKind(4, 8, SOME, dtype="bfloat16"),
    "pickled": AdapterKind(4, 8, SOME, is_pickled=True),
}
"""What the architectures have in common, tried on one of them."""


def kinds_of(architecture: Architecture) -> dict[str, AdapterKind]:
    """Return the adapters of an architecture by the name of their folder.

    `scaled` has what asks for more than one scale in a file: rsLoRA, and ranks and alphas of
    their own for some of the modules. The llama has those of `STORAGE` besides.
    """
    first, last = architecture.modules[0], architecture.modules[-1]
    ranks, alphas = {first: 2, last: 5}, {last: 7}
    if architecture.parameters:
        ranks[r".*\.gate_up_proj"] = 4
        alphas[r".*\.gate_up_proj"] = 6
    kinds = {
        "plain": AdapterKind(rank=4, alpha=8),
        "scaled": AdapterKind(
            rank=3,
            alpha=4,
            options={"use_rslora": True, "rank_pattern": ranks, "alpha_pattern": alphas},
        ),
    }
    return kinds | STORAGE if architecture.name == "llama" else kinds


class TabulatedGelu(torch.nn.Module):
    """GELU as llama.cpp computes it on a CPU: a table over the values of float16.

    With the function itself the bases differ by up to 1.4e-3 from llama.cpp, ten times what the
    adapters are to agree in. Source: `ggml_vec_gelu_f32` and `ggml_table_gelu_f16`.
    """

    def forward(self, values: Any) -> Any:
        """Return the GELU of every value, by the approximation with tanh, in float16's steps."""
        looked_up = torch.nn.functional.gelu(values.half().float(), approximate="tanh").half()
        inner = torch.where(values >= 10.0, values, looked_up.to(values.dtype))
        return torch.where(values <= -10.0, torch.zeros_like(values), inner)


def random_model(architecture: Architecture) -> Any:
    """Return the model in float64, each of its weights a float32 that only its name decides.

    A vector keeps the value it starts with, 1 or 0 for a norm, and varies around it; in a matrix
    no layer is close to doing nothing. GELUs of every spelling become llama.cpp's.
    """
    config_class = getattr(transformers, architecture.config_name)
    # The experts and the attention of plain torch, not those of a fused kernel.
    config = config_class(
        **architecture.config, attn_implementation="eager", experts_implementation="eager"
    )
    model = getattr(transformers, architecture.model_name)(config).eval()
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        values = random_of(name, shape)
        if parameter.ndim == 1:
            start = parameter.detach().numpy()
            values = 0.2 * values + (start[0] if (start == start[0]).all() else 0.0)
            if name == "model.norm.weight" and architecture.final_gain is not None:
                values += architecture.final_gain - start[0]
        else:
            values *= shape[-1] ** -0.5
        enlarged, factor = architecture.enlarged
        fill(parameter, values * (factor if name == enlarged else 1.0))
    for module in list(model.modules()):
        for name, child in module.named_children():
            if "gelu" in type(child).__name__.lower():
                setattr(module, name, TabulatedGelu())
    return model.double()


def with_adapter(model: Any, architecture: Architecture, kind: AdapterKind) -> Any:
    """Return the model under a new random adapter; the model itself is changed."""
    is_whole = not kind.modules
    config = peft.LoraConfig(
        r=kind.rank,
        lora_alpha=kind.alpha,
        target_modules=list(kind.modules or architecture.modules),
        target_parameters=(list(architecture.parameters) or None) if is_whole else None,
        **kind.options,
    )
    with warnings.catch_warnings(), exact_targets(model):
        # Of a tied model: that merging would give the tie up. Nothing is merged here.
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model, config).eval()
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            fill(parameter, random_of(name, tuple(parameter.shape)) * LORA_SIZE)
            parameter.data = parameter.data.to(getattr(torch, kind.dtype)).to(parameter.dtype)
    return adapted


@contextmanager
def exact_targets(model: Any) -> Iterator[None]:
    """Let PEFT take the targets as they are named.

    For some families it takes every module called `gate_proj` for those of the experts, which
    have been parameters since transformers 5, and leaves out the shared expert's.
    """
    kind = model.config.model_type
    model.config.model_type = ""
    try:
        yield
    finally:
        model.config.model_type = kind


def tokens_of(architecture: Architecture) -> NDArray[np.int32]:
    """Return the prompt, shape (n_tokens,)."""
    rng = np.random.default_rng(zlib.crc32(architecture.name.encode()))
    return rng.integers(0, N_VOCAB, N_TOKENS, dtype=np.int32)


def logits_of(model: Any, tokens: NDArray[np.int32]) -> Floats:
    """Return the logits after every token, shape (n_tokens, n_vocab)."""
    with torch.no_grad():
        out = model(input_ids=torch.from_numpy(tokens.astype(np.int64))[None]).logits
    return out[0].float().numpy()


def fill(parameter: Any, values: NDArray[np.float64]) -> None:
    """Set a parameter to values rounded to float32."""
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values.astype(np.float32)))
