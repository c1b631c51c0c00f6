"""The `--lora` and `--lora-scale` options: adapters on top of a model's own stack."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.adapters.read import read_adapter
from engine.gguf.model_header import require_base
from engine.resolve.adapter import adapter_notices
from engine.stack import AdapterStack, stack_of
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.language.adapter_line import MAX_SCALE
from modelfiles.model import AdapterSpec, Model
from modelfiles.references.files import Convert, Pull, adapter_at, is_foreign_adapter, pulled_at
from modelfiles.references.model_name import free_name
from modelfiles.references.resolve import adapter_id
from tui.errors import UsageError
from tui.terminal.output import note

DEFAULT_SCALE = 1.0


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
    convert: Convert | None = None,
    pull: Pull | None = None,
) -> Model:
    """Return the model with the options applied to its adapters, in order.

    An option that names an adapter of the stack, or leads to the same file, sets its scale. Any
    other adds an adapter at the end: a GGUF file; the folder of a PEFT or MLX adapter, which
    `convert` converts; or an adapter of the Hub or one pulled before, which `pull` provides. Raises
    `ReferenceNotFoundError` if it leads to no adapter; the content of a GGUF file is not checked
    here.
    """
    for option in options:
        scale = DEFAULT_SCALE if option.scale is None else option.scale
        place = _place_of(option.reference, model.adapters)
        if place is None:
            adapters = (
                *model.adapters,
                _new_adapter(option.reference, scale, model, convert, pull),
            )
        else:
            changed = replace(model.adapters[place], scale=scale)
            adapters = (*model.adapters[:place], changed, *model.adapters[place + 1 :])
        model = replace(model, adapters=adapters)
    return model


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
    base = require_base(model.base)
    for spec in model.adapters:
        for notice in adapter_notices(spec.path, base):
            note(notice)
    return stack_of((read_adapter(spec.path, spec.name), spec.scale) for spec in model.adapters)


def _place_of(reference: str, adapters: Sequence[AdapterSpec]) -> int | None:
    for place, spec in enumerate(adapters):
        if spec.name == reference:
            return place
    path = Path(reference).expanduser()
    for place, spec in enumerate(adapters):
        if path.is_file() and path.resolve() == spec.path.resolve():
            return place
    return None


def _new_adapter(
    reference: str, scale: float, model: Model, convert: Convert | None, pull: Pull | None
) -> AdapterSpec:
    path = Path(reference).expanduser().absolute()
    names = [spec.name for spec in model.adapters]
    if is_foreign_adapter(path) or path.is_dir():
        file, called_after = adapter_at(path, f"--lora {reference}", model.base, convert)
        return AdapterSpec(free_name(adapter_id(called_after), names), file, scale)
    if not path.is_file():
        found = pulled_at(reference, f"--lora {reference}", model.base, convert, pull)
        if found is not None:
            return AdapterSpec(free_name(found[1], names), found[0], scale)
        own = f" nor one of the adapters of {model.name} ({', '.join(names)})" if names else ""
        raise ReferenceNotFoundError(
            f"--lora {reference} is not a file{own}, nor a pulled adapter ('tui list --adapters')."
        )
    return AdapterSpec(free_name(adapter_id(path), names), path, scale)
