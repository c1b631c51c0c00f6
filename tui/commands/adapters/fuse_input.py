"""Resolve and check what `tui fuse` fuses: a model's stack, or adapters named on their own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.adapters.checking.check import check_alone
from engine.adapters.checking.rules import require_kept
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base
from engine.stack import AdapterStack, stack_of
from modelfiles.library import open_library
from modelfiles.model import Model
from modelfiles.references.files import is_foreign_adapter
from tui.commands.base_option import named_base
from tui.commands.fetching import convert_and_tell, pull_and_tell
from tui.commands.lora_options import LoraOption, stack_of_model, with_loras
from tui.errors import TuiError, UsageError


@dataclass(frozen=True, slots=True)
class Fusing:
    """A stack to be fused, and its base if that is known."""

    stack: AdapterStack
    parts: tuple[FusePart, ...]
    base: GgufHeader | None

    @property
    def headers(self) -> tuple[GgufHeader, ...]:
        """The headers of the adapters that are fused."""
        return tuple(part.header for part in self.parts)

    @property
    def architecture(self) -> str:
        """The `general.architecture` they share."""
        return self.parts[0].header.architecture or ""

    def require_apart(self, out: Path) -> None:
        """Raise `UsageError` if the output is one of the files that are read."""
        bases = () if self.base is None else tuple(self.base.part_stamps)
        for path in (*(header.path for header in self.headers), *bases):
            if out.exists() and path.exists() and out.samefile(path):
                raise UsageError(f"{out} is one of the files that are fused: name another with -o.")


def fusing_of(args: argparse.Namespace) -> Fusing:
    """Return what the arguments of `tui fuse` name: NAME, --lora, --lora-scale and --base.

    Raises `TuiError`, `EngineError` or `ModelfilesError` with one sentence if that cannot be fused.
    """
    model, has_base = _model(args)
    stack = stack_of_model(model) if has_base else _alone(model)
    for entry in stack.active:
        if entry.adapter.invocation_tokens:
            raise TuiError(
                f"{entry.adapter.name} acts from its invocation tokens on, and a fused adapter "
                f"acts always: leave it out with --lora {entry.adapter.name} --lora-scale 0."
            )
    if not stack.effective:
        raise TuiError(
            "There is nothing to fuse: no adapter of the stack has a scale other than 0; set one "
            "with --lora and --lora-scale."
        )
    files = {entry.adapter.sha256: entry.adapter for entry in stack.active}
    parts = tuple(part_of(files[sha256], scale) for sha256, scale in stack.effective.items())
    return Fusing(stack, parts, require_base(model.base) if has_base else None)


def _model(args: argparse.Namespace) -> tuple[Model, bool]:
    """Return the model whose stack is fused, and whether its base is known."""
    if args.name is not None:
        if args.base is not None:
            raise UsageError(f"--base goes with --lora alone: {args.name} has a base of its own.")
        model = open_library().get(args.name)
        return with_loras(model, args.loras, convert_and_tell, pull_and_tell), True
    if not args.loras:
        raise UsageError("Name a model whose stack is to be fused, or adapters with --lora.")
    if args.base is None:
        _require_gguf(args.loras)
        return with_loras(Model("", Path()), args.loras, pull=pull_and_tell), False
    alone = Model(args.base, named_base(args.base).header.path)
    return with_loras(alone, args.loras, convert_and_tell, pull_and_tell), True


def _require_gguf(options: Iterable[LoraOption]) -> None:
    """Raise `UsageError` if an adapter has to be converted, which requires a base."""
    for option in options:
        if is_foreign_adapter(Path(option.reference).expanduser().absolute()):
            raise UsageError(
                f"--lora {option.reference} is an adapter of PEFT or MLX, which is converted for "
                "its base: name that with --base."
            )


def _alone(model: Model) -> AdapterStack:
    """Return the adapters as a stack, checked without a base."""
    for spec in model.adapters:
        require_kept(check_alone(read_header(spec.path)))
    return stack_of((read_adapter(spec.path, spec.name), spec.scale) for spec in model.adapters)
