"""The `--lora` and `--lora-scale` options: adapters on top of a model's own stack."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.adapters.read import read_adapter
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.resolve.adapter import adapter_notices, equal_adapters
from engine.resolve.reference import ResolvedAdapter, gguf_of, resolve_adapter
from engine.resolve.watch import Watch
from engine.stack import AdapterStack, stack_of
from modelfiles.errors import ReferenceNotFoundError, naming
from modelfiles.language.adapter_line import MAX_SCALE
from modelfiles.model import AdapterSpec, Model
from modelfiles.references.model_name import free_name
from tui.commands.fetching import watching
from tui.errors import UsageError
from tui.terminal.output import note

DEFAULT_SCALE = 1.0
_SCALED = re.compile(r"(.+)[:=@](-?(?:[0-9]+\.?[0-9]*|\.[0-9]+))")


@dataclass(frozen=True, slots=True)
class LoraOption:
    """One `--lora REF` with the `--lora-scale` that followed it, if any."""

    reference: str
    scale: float | None = None


def add_lora_options(parser: argparse.ArgumentParser) -> None:
    """Add `--lora REF` and `--lora-scale S`, both repeatable, which end up in `args.loras`."""
    parser.add_argument(
        "--lora",
        metavar="REF",
        dest="loras",
        action=_AppendLora,
        default=(),
        help="add an adapter to the model's stack (a GGUF file, the folder of a PEFT or MLX "
        "adapter, which is converted, hf.co/user/repo, or the name of one that was pulled), or "
        "name one that is in it to set its scale; repeatable, in order",
    )
    parser.add_argument(
        "--lora-scale",
        metavar="S",
        dest="loras",
        action=_ScaleLora,
        default=(),
        help="scale of the --lora before it: 1.0 (the default) is the strength it was trained "
        "at, 0 is off, negative pushes the other way",
    )


class _AppendLora(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any
    ) -> None:
        namespace.loras = (*namespace.loras, LoraOption(values))


class _ScaleLora(argparse.Action):
    """Completes the last `--lora`; argparse alone cannot tie one option to another."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, *_: Any
    ) -> None:
        if not namespace.loras:
            parser.error("--lora-scale applies to the --lora before it, and there is none")
        *earlier, last = namespace.loras
        if last.scale is not None:
            parser.error(f"--lora {last.reference} has two --lora-scale options: give one")
        namespace.loras = (*earlier, replace(last, scale=_scale(parser, values)))


def _scale(parser: argparse.ArgumentParser, text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not abs(scale) <= MAX_SCALE:  # also true for nan
        parser.error(
            f"--lora-scale must be a number between -{MAX_SCALE:g} and {MAX_SCALE:g}, not '{text}'"
        )
    return scale


def with_loras(
    model: Model,
    options: Iterable[LoraOption],
    base: GgufHeader | None = None,
    tell: Callable[[str], object] = note,
) -> Model:
    """Return the model with the options applied to its adapters, in order.

    An option that means an adapter of the stack, as `resolve_adapter` has it, sets its scale. Any
    other adds an adapter at the end, pulled and converted if necessary, with a bar on stderr:
    `tell` gets the sentences about conversions, which are for `base`, by default the model's.
    Raises `ModelfilesError` or `EngineError` if it leads to no adapter; the content of a GGUF file
    is not checked here.
    """
    adapters = stacked(model.adapters, options, base or model.base, tell)
    return replace(model, adapters=adapters)


def stacked(
    adapters: tuple[AdapterSpec, ...],
    options: Iterable[LoraOption],
    base: Path | GgufHeader | None,
    tell: Callable[[str], object] = note,
) -> tuple[AdapterSpec, ...]:
    """Apply the options to a stack like `with_loras`; without a base nothing can be converted."""
    named: set[str] = set()
    for option in options:
        if option.reference in named:
            raise UsageError(f"--lora {option.reference} is given twice: give it one scale.")
        named.add(option.reference)
        scale = DEFAULT_SCALE if option.scale is None else option.scale
        with watching(option.reference, tell) as watch:
            found = _resolved(option.reference, adapters, watch)
            if found.spec is None:
                if base is None and found.is_foreign:
                    raise UsageError(
                        f"--lora {option.reference} is an adapter of PEFT or MLX, which is "
                        "converted for its base: name that with --base."
                    )
                new = gguf_of(found, base or Path(), watch=watch)
                name = free_name(new.name, [spec.name for spec in adapters])
                adapters = (*adapters, AdapterSpec(name, new.path, scale))
                continue
        place = adapters.index(found.spec)
        changed = replace(found.spec, scale=scale)
        adapters = (*adapters[:place], changed, *adapters[place + 1 :])
    return adapters


def _resolved(reference: str, adapters: tuple[AdapterSpec, ...], watch: Watch) -> ResolvedAdapter:
    try:
        return resolve_adapter(reference, stack=adapters, watch=watch)
    except ReferenceNotFoundError:
        scaled = _SCALED.fullmatch(reference)
        if scaled is None:
            raise
        raise UsageError(
            f"--lora {reference}: the scale stands in an option of its own, as in"
            f" --lora {scaled[1]} --lora-scale {scaled[2]}."
        ) from None


def require_apart(out: Path, options: Iterable[LoraOption]) -> None:
    """Raise `UsageError` if the output would replace, contain or lie in what an option names.

    A folder that is converted may be the only copy of its adapter.
    """
    place = out.resolve()
    for option in options if place.exists() else ():
        try:
            named = Path(option.reference).expanduser().resolve()
        except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
            continue  # the name of an adapter of the stack, or an error reported elsewhere
        if named.exists() and (place.is_relative_to(named) or named.is_relative_to(place)):
            raise UsageError(
                f"{out} is, or holds, what --lora {option.reference} names: name another with -o."
            )


def stack_of_model(model: Model) -> AdapterStack:
    """Return the model's adapters as a stack, each checked against the base.

    Parts of them without effect are noted on stderr. Raises `BaseError`, `AdapterError` or
    `GgufError` for a wrong file, so that it is named before a worker starts loading gigabytes.
    """
    with naming(model.names):
        base = require_base(model.base)
        for sentence in equal_adapters(model.adapters):
            note(sentence)
        for spec in model.adapters:
            for notice in adapter_notices(spec.path, base):
                note(f"{spec.name}: {notice}")
        return stack_of((read_adapter(s.path, s.name), s.scale) for s in model.adapters)
