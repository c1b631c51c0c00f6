"""Merge a stack of LoRA adapters into its base, giving a model that needs no adapters.

    W' = W + sum_i s_i B_i A_i

Dequantises each touched tensor in blocks of rows, adds the delta and quantises the sum, with
llama.cpp's own functions in several threads; copies everything else. Measures how much of the
delta is kept, because 4-bit rounding loses most of it: a LoRA's delta is mostly under 2 % of the
weight.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from engine.adapters.factors import targets_of
from engine.adapters.merging.checks import (
    require_other_file,
    require_readable,
    require_space,
    require_types,
)
from engine.adapters.merging.metadata import merged_fields
from engine.adapters.merging.model_hash import model_sha256s
from engine.adapters.merging.original import require_same_weights
from engine.adapters.merging.plan import (
    MergeType,
    plan_from_original,
    plan_of,
    require_same_model,
)
from engine.adapters.merging.record import Merged, TensorMerge
from engine.adapters.merging.rules import merge_notices, require_mergeable
from engine.adapters.merging.writer import MergeMeter, MergeWriter, OnProgress
from engine.adapters.scaled_adapter import FusePart
from engine.disk.whole_output import new_file, sweep_parts
from engine.errors import AdapterError, stop_if
from engine.gguf.model_header import require_base
from engine.gguf.weights import WeightFile

__all__ = ["Merged", "TensorMerge", "merge"]

MAX_THREADS: Final = 8


def merge(
    base: Path,
    parts: Sequence[FusePart],
    out: Path,
    *,
    type: MergeType = None,  # noqa: A002  # as the option is called
    original: Path | None = None,
    is_forced: bool = False,
    names: Sequence[str] | None = None,
    n_threads: int | None = None,
    on_progress: OnProgress = lambda title, fraction: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Merged:
    """Write a model that is equivalent, without adapters, to `base` with `parts` at their scales.

    Copies tensors without adapter byte for byte, and metadata except `split.*` and the name;
    records the merge under `lora_tui.merge.`. Equal arguments give equal bytes for any number of
    threads. Holds one tensor's LoRA factors and some blocks of 2 MB in memory at a time.

    Args:
        base: The GGUF file; for a split model the first shard.
        parts: Adapters with their scales; those at scale 0 are skipped.
        out: The file to write atomically; replaces an existing one.
        type: Type of the touched tensors. By default F32 stays F32 and all others become F16, also
            BF16: for a delta of 0.1 % of the weights, BF16 kept 53 %, F16 99.9 %. `keep` keeps
            each tensor's type.
        original: The model that `base` was quantised from: the stack is merged into it, and the
            result gets the types of `base`.
        is_forced: Whether to write the result even if it keeps under 90 % of the delta.
        names: Names of the parts; by default those in their files.
        n_threads: Number of conversion threads; by default one per core, at most 8.
        on_progress: Called with the current step and the fraction of the whole merge done.
        is_cancelled: Called between blocks.

    Raises:
        AdapterError: There is nothing to merge, an adapter does not fit, or the type keeps too
            little of the delta.
        BaseError: `base` or `original` is not a model, or they are different models.
        GgufError: A file cannot be read, or changed meanwhile.
        EngineError: `out` cannot be written, or the disk is too full.
        Cancelled: `is_cancelled` returned true.
    """
    sweep_parts(out)
    like = require_base(base)
    source = like if original is None else require_base(original)
    if source is not like:
        require_same_model(like, source)
    kept = [index for index, part in enumerate(parts) if part.scale != 0.0]
    active = [parts[index] for index in kept]
    if not active:
        raise AdapterError("There is nothing to merge: no adapter has a scale other than 0.")
    adapters = [part.header for part in active]
    require_other_file(out, [like, source, *adapters])
    fitted = require_mergeable(like, adapters)
    is_untied = fitted is not like
    touched = targets_of(active)
    if source is like:
        plan = plan_of(fitted, touched, type)
    else:
        plan = plan_from_original(fitted, require_mergeable(source, adapters), touched, type)
    require_types(plan)
    own_names = [names[index] if names else _name_of(parts[index]) for index in kept]
    total_bytes = sum(tensor.slot.size_bytes for tensor in plan)
    require_space(out, total_bytes)

    def stop_if_cancelled() -> None:
        stop_if(is_cancelled)

    models = [like] if source is like else [like, source]
    meter = MergeMeter(on_progress, stop_if_cancelled, models, total_bytes)
    sha256s = {header.path: model_sha256s(header, meter.hashed) for header in models}
    fields = merged_fields(
        like,
        plan,
        active,
        own_names,
        sha256s[source.path],
        None if source is like else sha256s[like.path],
    )
    with ExitStack() as files, new_file(out, "The merged model") as file:
        bases = {
            path: weights
            for header in models
            for weights in [files.enter_context(WeightFile(header))]
            for path in header.part_stamps
        }
        loras = [files.enter_context(WeightFile(part.header)) for part in active]
        if source is not like:
            require_same_weights(plan, fitted, bases)
        merger = MergeWriter(file, fields, plan, bases, active, loras, meter)
        tensors = merger.run(_thread_count(n_threads), is_forced=is_forced)
        for weights in (*bases.values(), *loras):
            weights.require_unchanged()
        require_readable(Path(str(file.name)), out, plan)
        stop_if_cancelled()
    return Merged(
        path=out,
        size_bytes=out.stat().st_size,
        tensors=tensors,
        n_copied=sum(tensor.is_copied for tensor in plan),
        n_requantised=sum(not (t.is_copied or t.is_touched) for t in plan),
        is_untied=is_untied,
        notices=merge_notices(zip(own_names, adapters, strict=True)),
    )


def _name_of(part: FusePart) -> str:
    return part.header.text("general.name") or part.header.path.stem


def _thread_count(n_threads: int | None) -> int:
    return max(1, n_threads) if n_threads is not None else min(os.cpu_count() or 1, MAX_THREADS)
