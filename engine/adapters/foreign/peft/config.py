"""Read PEFT's adapter_config.json and refuse settings that a pair of factors cannot express."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeGuard

from engine.adapters.foreign.formats.json_text import JsonError, parse_object
from engine.adapters.foreign.formats.untrusted_file import read_small
from engine.adapters.foreign.module_names import MAX_NAME_CHARACTERS
from engine.adapters.foreign.peft.fields import (
    ADALORA_IDLE_FIELDS,
    HARMLESS_INITS,
    IDLE_FIELDS,
    MERGE,
    MUTATING_INITS,
    READ_FIELDS,
    REFUSED_FIELDS,
)
from engine.adapters.foreign.peft.patterns import PatternError, Patterns
from engine.errors import AdapterError
from modelfiles.wording import shown

CONFIG: Final = "adapter_config.json"
"""Name of the configuration's file, PEFT's and MLX's."""
MAX_CONFIG_BYTES: Final = 32 * 1024 * 1024
MAX_RANK: Final = 65_536
MAX_NUMBER: Final = 1e9
MAX_INVOCATION_TOKENS: Final = 4096
MAX_BASE_CHARACTERS: Final = 4096


@dataclass(frozen=True, slots=True)
class ModuleScale:
    """Rank and scale of one module according to the configuration."""

    rank: int
    scale: float
    """Factor of `b @ a`."""


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The adapter_config.json of a plain LoRA, or of an AdaLoRA, which converts as exactly."""

    path: Path
    peft_type: Literal["LORA", "ADALORA"]
    rank: int
    """`r`; for AdaLoRA the initial rank, by which its scale is always divided."""
    alpha: float
    is_rslora: bool
    rank_patterns: Patterns
    alpha_patterns: Patterns
    target_parameters: tuple[str, ...]
    modules_to_save: tuple[str, ...]
    base_name: str
    invocation_tokens: tuple[int, ...]

    def scale_of(self, names: Sequence[str]) -> ModuleScale:
        """Return rank and scale of a module with these names, the trained name first."""
        if self.peft_type == "ADALORA":
            return ModuleScale(self.rank, self.alpha / (self.rank + 1e-5))
        rank = int(self.rank_patterns.find(names) or self.rank)
        found = self.alpha_patterns.find(names)
        alpha = self.alpha if found is None else found
        return ModuleScale(rank, alpha / (math.sqrt(rank) if self.is_rslora else rank))

    def refuse(self, does: str, remedy: str) -> NoReturn:
        """Raise `AdapterError` with `does`, what is wrong with this adapter, and a remedy."""
        raise AdapterError(f"{does}: {remedy}.", self.path.parent)


def read_config(path: Path) -> Mapping[str, object]:
    """Return the fields of an adapter's configuration; raise `AdapterError` if it is invalid."""
    content = read_small(path, MAX_CONFIG_BYTES)
    try:
        return parse_object(content)
    except JsonError as fault:
        raise AdapterError(
            f"cannot be understood, {fault}: download or save the adapter again.", path
        ) from None


def peft_config(path: Path, fields: Mapping[str, object]) -> PeftConfig:
    """Validate the fields of a configuration; raise `AdapterError` with reason and remedy."""
    return _Gate(path, fields).config()


def name_of_base(value: object) -> str:
    """Return the base's name or path from a configuration value, or '' if invalid."""
    name = value.strip() if isinstance(value, str) else ""
    return name if name.isprintable() and len(name) <= MAX_BASE_CHARACTERS else ""


class _Gate:
    """Validates the fields one by one; raises `AdapterError` for the first invalid one."""

    __slots__ = ("_fields", "_path")

    def __init__(self, path: Path, fields: Mapping[str, object]) -> None:
        self._path = path
        self._fields = fields

    def config(self) -> PeftConfig:
        kind = self._kind()
        is_adalora = kind == "ADALORA"
        self._require_known(is_adalora)
        self._require_sound_base()
        rank = self._rank("init_r" if is_adalora else "r")
        alpha = self._number("lora_alpha")
        if alpha == 0 or (is_adalora and alpha < 0):
            self._wrong("lora_alpha", f"is {_said(alpha)}, impossible after a training")
        return PeftConfig(
            path=self._path,
            peft_type=kind,
            rank=rank,
            alpha=alpha,
            is_rslora=self._flag("use_rslora") and not is_adalora,
            rank_patterns=self._patterns("rank_pattern", is_rank=True, is_empty=is_adalora),
            alpha_patterns=self._patterns("alpha_pattern", is_rank=False, is_empty=is_adalora),
            target_parameters=self._names("target_parameters"),
            modules_to_save=self._names("modules_to_save"),
            base_name=self._text("base_model_name_or_path"),
            invocation_tokens=self._tokens("alora_invocation_tokens"),
        )

    def _kind(self) -> Literal["LORA", "ADALORA"]:
        kind = self._fields.get("peft_type")
        if kind == "LORA":
            return "LORA"
        if kind == "ADALORA":
            return "ADALORA"
        if not isinstance(kind, str):
            self._wrong("peft_type", "is missing or not a text")
        # Imported here: it takes 20 ms (subprocess), which a LoRA does not need.
        from engine.adapters.foreign.peft.methods import remedy

        raise AdapterError(
            f"is of the kind {shown(kind)}, not LORA: {remedy(kind)}.", self._path.parent
        )

    def _require_known(self, is_adalora: bool) -> None:
        for name, (does, remedy) in REFUSED_FIELDS.items():
            if self._fields.get(name):
                raise AdapterError(f"{does}: {remedy}.", self._path.parent)
        known = READ_FIELDS | IDLE_FIELDS | (ADALORA_IDLE_FIELDS if is_adalora else frozenset())
        if self._fields.get("alora_invocation_tokens"):
            known |= {"invocation_string", "alora_invocation_string"}  # the same, as text
        for name, value in self._fields.items():
            if value and name not in known:
                self._wrong(
                    name,
                    "is set, with an unknown effect on the adapter",
                    f"update this program, or {MERGE}",
                )

    def _require_sound_base(self) -> None:
        init = self._fields.get("init_lora_weights", True)
        if isinstance(init, bool) or init is None:
            return
        text = init.lower() if isinstance(init, str) else ""
        if text in HARMLESS_INITS:
            return
        if text.startswith(MUTATING_INITS):
            raise AdapterError(
                f"used init_lora_weights={shown(text)}, which changes the base too: save it again "
                f"with path_initial_model_for_weight_conversion, as plain LoRA, or {MERGE}.",
                self._path.parent,
            )
        self._wrong(
            "init_lora_weights",
            f"is {shown(str(init))}, with an unknown effect on the base",
            f"update this program, or {MERGE}",
        )

    def _rank(self, name: str) -> int:
        value = self._fields.get(name)
        if not self._is_rank(value):
            self._wrong(name, f"is {_said(value)}, not a whole number from 1 to {MAX_RANK}")
        return value

    def _number(self, name: str) -> float:
        value = self._fields.get(name)
        if not _is_number(value):
            self._wrong(name, f"is {_said(value)}, not a number up to {MAX_NUMBER:g}")
        return float(value)

    def _flag(self, name: str) -> bool:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, bool):
            self._wrong(name, f"is {_said(value)}, not true or false")
        return bool(value)

    def _text(self, name: str) -> str:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            self._wrong(name, f"is {_said(value)}, not a text")
        return name_of_base(value)

    def _names(self, name: str) -> tuple[str, ...]:
        value = self._fields.get(name) or ()
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(n, str) and n.isprintable() and len(n) <= MAX_NAME_CHARACTERS for n in value
        ):
            self._wrong(name, f"is {_said(value)}, not a list of names")
        return tuple(value)

    def _tokens(self, name: str) -> tuple[int, ...]:
        value = self._fields.get(name) or []
        if (
            not isinstance(value, list)
            or len(value) > MAX_INVOCATION_TOKENS
            or not all(type(n) is int and 0 <= n < 2**31 for n in value)
        ):
            self._wrong(name, f"is {_said(value)}, not a list of token numbers")
        return tuple(value)

    def _patterns(self, name: str, *, is_rank: bool, is_empty: bool) -> Patterns:
        # AdaLoRA's `rank_pattern` lists the remaining directions, which its tensors show anyway.
        value = {} if is_empty else self._fields.get(name) or {}
        if not isinstance(value, dict):
            self._wrong(name, f"is {_said(value)}, not a table of patterns")
        for key, number in value.items():
            if not (self._is_rank(number) if is_rank else _is_number(number) and number):
                self._wrong(name, f"gives {shown(key)} the value {_said(number)}")
        try:
            return Patterns(value)
        except PatternError as fault:
            self._wrong(name, f"cannot be used, {fault}")

    @staticmethod
    def _is_rank(value: object) -> TypeGuard[int]:
        return type(value) is int and 1 <= value <= MAX_RANK

    def _wrong(
        self, name: str, fault: str, remedy: str = "correct it, or save the adapter again"
    ) -> NoReturn:
        raise AdapterError(f"is wrong: {shown(name)} {fault}; {remedy}.", self._path)


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is a number, not a boolean, of magnitude up to `MAX_NUMBER`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= MAX_NUMBER  # False for NaN


def _said(value: object) -> str:
    """Return a value for a message; only the kind for a list or table, which may be long."""
    if value is None:
        return "missing"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a table"
    return shown(value) if isinstance(value, str) else shown(str(value))[1:-1]
