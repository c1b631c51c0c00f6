"""Inspect a PEFT or MLX adapter without a base, under its own module names."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod

from engine.adapters.foreign.source import LoraModule, LoraSource
from engine.adapters.inspection.factor_reader import SourceFactors
from engine.adapters.inspection.inspect import CONVERTIBLE, Inspection, Target, Verdict
from engine.adapters.inspection.module_place import place_of_module
from engine.adapters.inspection.provenance import BaseModel, Provenance
from engine.adapters.read import adapter_name
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader

_BYTES = {"f32": 4, "f16": 2, "bf16": 2}


def inspect_source(source: LoraSource, name: str = "") -> Inspection:
    """Return the inspection of an unconverted adapter, without checking any rule.

    Alpha is scale times rank, which gives the same scale in llama.cpp. Raises `AdapterError` if a
    file can no longer be read.
    """
    modules = _named(source.modules)
    notices = source.notices
    if source.dropped:
        notices += (f"Left out {len(source.dropped)} pairs of a vision or audio tower.",)
    try:
        size_bytes = sum(file.stat().st_size for file in source.files)
    except OSError as error:
        raise AdapterError(f"cannot be read: {error.strerror}.", source.path) from None
    return Inspection(
        name=name or adapter_name(source.title, source.path),
        path=source.path.absolute(),
        format=source.kind,
        sha256=source.sha256,
        size_bytes=size_bytes,
        architecture="",
        provenance=Provenance(
            title=source.title,
            description="",
            bases=(BaseModel(source.base_name),) if source.base_name else (),
            converter="",
            facts=(),
            tags=(),
            invocation_tokens=source.invocation_tokens,
        ),
        targets=tuple(_target(path, module) for path, module in modules),
        base=None,
        verdicts=(),
        notices=notices,
        is_measurable=True,
        open_factors=partial(SourceFactors, modules),
    )


def refused(source: Inspection, base: GgufHeader, fault: str) -> Inspection:
    """Return the inspection of an adapter that cannot be converted for `base`, with the reason."""
    return replace(source, base=base, verdicts=(Verdict(CONVERTIBLE, fault),))


def converted_from(source: Inspection, converted: Inspection) -> Inspection:
    """Return the inspection of the converted adapter with the identity of the source's files."""
    return replace(
        converted,
        path=source.path,
        sha256=source.sha256,
        size_bytes=source.size_bytes,
        notices=tuple(dict.fromkeys((*source.notices, *converted.notices))),
    )


def _named(modules: tuple[LoraModule, ...]) -> tuple[tuple[str, LoraModule], ...]:
    """Return the modules by name, numbering expert parameters that share a module's path."""
    seen: dict[str, int] = {}
    named = []
    for module in modules:
        seen[module.path] = count = seen.get(module.path, 0) + 1
        named.append((module.path if count == 1 else f"{module.path}.{count}", module))
    return tuple(named)


def _target(path: str, module: LoraModule) -> Target:
    a, b = module.a, module.b
    return Target(
        name=path,
        place=place_of_module(path),
        rank=module.rank,
        alpha=module.scale * module.rank,
        scale=module.scale,
        n_experts=prod(b.shape[:-2]),
        n_parameters=prod(a.shape) + prod(b.shape),
        a_type=a.dtype.upper(),
        b_type=b.dtype.upper(),
        size_bytes=prod(a.shape) * _BYTES[a.dtype] + prod(b.shape) * _BYTES[b.dtype],
    )
