"""The PARAMETER values of a model: their types, defaults and how one set overrides another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from types import MappingProxyType

import msgspec

from modelfiles.errors import ParameterError
from modelfiles.wording import hint, quoted

Value = int | float | bool | str


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """PARAMETER values; None means not set, so that a base's value or the default applies.

    Names, types and defaults follow Ollama's `api/types.go`.
    """

    num_ctx: int | None = None
    """Context length in tokens."""
    num_batch: int | None = None
    num_gpu: int | None = None
    """Layers kept on the GPU; -1 chooses."""
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    """Threads for evaluation; 0 chooses."""
    draft_num_predict: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    """Seed of the sampler; negative draws a new one for every answer."""
    num_predict: int | None = None
    """Most tokens in an answer; negative is unlimited (bounded by the context)."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    """Tokens looked back at for penalties; 0 is off, -1 the whole context."""
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None

    def over(self, base: Parameters) -> Parameters:
        """Return `base` with every value that is set here replaced; `stop` is replaced whole."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(base, **{k: v for k, v in values.items() if v is not None})

    def lines(self) -> list[tuple[str, str]]:
        """Return every value that is set as `(name, text)`, one entry for each stop string.

        The texts are what PARAMETER lines say: integers as integers, booleans as true and false.
        """
        lines: list[tuple[str, str]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple):
                lines.extend((name, text) for text in value)
            elif isinstance(value, bool):
                lines.append((name, "true" if value else "false"))
            elif value is not None:
                lines.append((name, repr(value)))
        return lines


DEFAULTS = Parameters(
    num_ctx=4096,
    num_batch=512,
    num_gpu=-1,
    use_mmap=True,
    num_thread=0,
    draft_num_predict=4,
    num_keep=4,
    seed=-1,
    num_predict=-1,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    typical_p=1.0,
    repeat_last_n=64,
    temperature=0.8,
    repeat_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    stop=(),
)
"""What applies where nothing is set: Ollama's values at run time (not those of its older
documentation), with its context length for machines of less than 23 GiB of GPU memory.
`main_gpu` stays unset."""

DEPRECATED = frozenset(
    {
        "f16_kv",
        "logits_all",
        "low_vram",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "penalize_newline",
        "use_mlock",
        "vocab_only",
    }
)
"""Parameters Ollama once had; they are accepted with a warning and change nothing."""

KINDS = MappingProxyType(
    {
        "main_gpu": int,
        **{
            name: str if isinstance(default, tuple) else type(default)
            for name, default in msgspec.structs.asdict(DEFAULTS).items()
            if default is not None
        },
    }
)
"""The type of each parameter's value; `stop` holds several strings, the others one value."""

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_INT32_MAX = 2**31 - 1
# Inclusive bounds outside which a value has no meaning to the sampler or the runtime.
_RANGES: dict[str, tuple[float, float]] = {
    "num_ctx": (1, _INT32_MAX),
    "num_batch": (1, _INT32_MAX),
    "num_gpu": (-1, _INT32_MAX),
    "main_gpu": (0, _INT32_MAX),
    "num_thread": (0, 4096),
    "seed": (-(2**63), 2**63 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "repeat_last_n": (-1, _INT32_MAX),
    "temperature": (0.0, 1e6),
    "repeat_penalty": (1e-6, 1e6),
}
_WIDEST_INTEGER = (-_INT32_MAX, _INT32_MAX)
_WIDEST_FLOAT = (-1e6, 1e6)


def parse_value(name: str, text: str) -> Value:
    """Return the value that `PARAMETER name text` sets; for `stop`, one string.

    Raises `ParameterError` for a name that does not exist (deprecated ones included), a text of
    the wrong type, and a number outside the range in which it means something.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise ParameterError(f"unknown parameter '{_shown(name)}'{hint(name, KINDS)}")
    if kind is str:
        if not text:
            raise ParameterError(f"{name} needs a text that is not empty")
        return text
    if kind is bool:
        if text not in _BOOLEANS:
            raise ParameterError(f"invalid bool value [{_shown(text)}]: {name} is true or false")
        return _BOOLEANS[text]
    # 4300 digits is where Python refuses to convert; no range here has more than 19.
    if kind is int:
        if not _INTEGER.match(text) or len(text) > 40:
            raise ParameterError(f"invalid int value [{_shown(text)}]: {name} is a whole number")
        return _within(name, int(text), _RANGES.get(name, _WIDEST_INTEGER))
    number = float(text) if _FLOAT.match(text) else math.nan
    if not math.isfinite(number):
        raise ParameterError(f"invalid float value [{_shown(text)}]: {name} is a number")
    return _within(name, number, _RANGES.get(name, _WIDEST_FLOAT))


def build_parameters(values: Iterable[tuple[str, Value]]) -> Parameters:
    """Collect parsed values: the last one of a name wins, `stop` gathers all of its strings."""
    collected: dict[str, Value] = {}
    stops: list[str] = []
    for name, value in values:
        if name == "stop":
            stops.append(str(value))
        else:
            collected[name] = value
    return msgspec.convert(collected | ({"stop": stops} if stops else {}), Parameters)


def _within(name: str, value: int | float, bounds: tuple[float, float]) -> int | float:
    low, high = bounds
    if not low <= value <= high:
        raise ParameterError(f"{name} must lie between {low} and {high}, not {value}")
    return value


def _shown(text: str) -> str:
    return quoted(text)[1:-1]
