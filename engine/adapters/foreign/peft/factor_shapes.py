"""Check the shapes of a module's factors, and tell why they are empty or cut.

Source of the forms: `stage3_gather_16bit_weights_on_model_save` of DeepSpeed (a parameter that is
not gathered has the shape (0,)), `torch.distributed.fsdp` (FSDP1 flattens parameters and gives each
process a run of values; FSDP2 gives each process some rows), `peft.tuners.adalora` (a module whose
budget is used up keeps 0 rows, and adds nothing).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.adapters.foreign.formats.tensor import FileTensor
from engine.adapters.foreign.peft.config import PeftConfig
from modelfiles.wording import shown

_FULL_STATE: Final = "save it again with the full state dict (FULL_STATE_DICT)"


def is_pruned(a: FileTensor, b: FileTensor) -> bool:
    """Return whether a pair has rank 0, (0, n_in) and (n_out, 0): it adds nothing."""
    return len(a.shape) == len(b.shape) == 2 and (a.shape[0], b.shape[1]) == (0, 0)


def require_gathered(config: PeftConfig, factors: Iterable[FileTensor]) -> None:
    """Raise `AdapterError` if factors have the one dimension of a sharded training."""
    flat = [tensor for tensor in factors if len(tensor.shape) == 1]
    if not flat:
        return
    if any(tensor.n_values for tensor in flat):
        config.refuse(
            f"has flattened factors ({shown(flat[0].name)}), one process's share of FSDP",
            _FULL_STATE,
        )
    config.refuse(
        f"has empty factors ({shown(flat[0].name)}), as DeepSpeed ZeRO-3 leaves them",
        "gather the weights before saving (stage3_gather_16bit_weights_on_model_save), or run "
        "zero_to_fp32.py on the checkpoint",
    )


def require_pair(
    config: PeftConfig, module: str, a: FileTensor, b: FileTensor, rank: int | None
) -> None:
    """Raise `AdapterError` unless A and B are matrices of one rank.

    `rank` is that of the configuration, None if it does not give the rank of this pair.
    """
    if len(a.shape) != 2 or len(b.shape) != 2:
        config.refuse(
            f"has factors with {len(a.shape)} dimensions at {shown(module)}",
            "only linear layers, embeddings and experts can be converted",
        )
    rank_a, rank_b = a.shape[0], b.shape[1]
    is_cut = rank_a < rank_b and rank in (None, rank_b)
    if is_cut or (rank_b and not b.shape[0]):
        rows = f"{rank_a} of {rank_b} rows of A" if is_cut else "no row of B"
        config.refuse(
            f"has {rows} at {shown(module)}, one process's share of FSDP2",
            _FULL_STATE,
        )
    if rank_a != rank_b:
        config.refuse(
            f"has an A of rank {rank_a} but a B of rank {rank_b} at {shown(module)}",
            "its weights are damaged, so get them again",
        )
    if not rank_a and rank:
        config.refuse(
            f"has rank 0 at {shown(module)} where adapter_config.json says {rank}",
            "get the configuration that was saved with these weights",
        )
    if 0 in a.shape + b.shape:
        config.refuse(f"has empty factors at {shown(module)}", "get its weights again")
