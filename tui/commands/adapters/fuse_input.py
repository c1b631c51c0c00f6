"""Resolve and check what `tui fuse` fuses: a model's stack, or adapters named on their own."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from engine.adapters.checking.check import check_alone
from engine.adapters.checking.rules import require_kept
from engine.adapters.read import read_adapter
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base
from engine.stack import AdapterStack, stack_of
from modelfiles.errors import naming
from modelfiles.model import Model
from tui.commands.base_option import named_base
from tui.commands.lora_options import stack_of_model, stacked, with_loras
from tui.commands.model_option import named_model
from tui.errors import TuiError, UsageError


@dataclass(frozen=True, slots=True)
class Fusing:
    """A stack to be fused, and its base if that is known."""

    stack: AdapterStack
    parts: tuple[FusePart, ...]
    base: GgufHeader | None
    names: dict[Path, str]
    """What the user calls the files that are read."""

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
    with naming(model.names):
        parts = tuple(part_of(files[sha256], scale) for sha256, scale in stack.effective.items())
        return Fusing(stack, parts, require_base(model.base) if has_base else None, model.names)


def _model(args: argparse.Namespace) -> tuple[Model, bool]:
    """Return the model whose stack is fused, and whether its base is known."""
    if args.name is not None:
        if args.base is not None:
            raise UsageError(f"--base goes with --lora alone: {args.name} has a base of its own.")
        return with_loras(named_model(args.name), args.loras), True
    if not args.loras:
        raise UsageError("Name a model whose stack is to be fused, or adapters with --lora.")
    if args.base is None:
        return Model("", Path(), stacked((), args.loras, None)), False
    base = named_base(args.base).header
    return Model(args.base, base.path, stacked((), args.loras, base)), True


def _alone(model: Model) -> AdapterStack:
    """Return the adapters as a stack, checked without a base."""
    with naming(model.names):
        for spec in model.adapters:
            require_kept(check_alone(read_header(spec.path)))
        return stack_of((read_adapter(s.path, s.name), s.scale) for s in model.adapters)
