"""PARAMETER values: their types, ranges and defaults, and how one set overrides another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from types import MappingProxyType

import msgspec

from modelfiles.errors import ParameterError
from modelfiles.wording import COMMENT, NO_COMMENT, hint, quoted, shortened

Value = int | float | bool | str


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """PARAMETER values; None means not set, so the base's value or the default applies.

    Names, types and defaults follow Ollama's `api/types.go`, except the names in `OWN`.
    """

    num_ctx: int | None = None
    """Context length in tokens."""
    num_batch: int | None = None
    """Prompt tokens evaluated in one call."""
    num_ubatch: int | None = None
    """Prompt tokens computed at once, at most num_batch."""
    num_gpu: int | None = None
    """Layers kept on the GPU; -1 chooses automatically."""
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    """Threads for evaluation; 0 chooses automatically."""
    num_thread_batch: int | None = None
    """Threads for prompt evaluation; 0 takes num_thread."""
    flash_attention: bool | None = None
    """Whether to use flash attention; unset, the engine chooses."""
    kv_cache_type: str | None = None
    """Data type of the KV cache, one of `KV_CACHE_TYPES`."""
    rpc_hosts: str | None = None
    """Hosts that compute layers, as comma-separated `host:port`; `none` for no host."""
    draft_num_predict: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    """Seed of the sampler; negative draws a new one for every answer."""
    num_predict: int | None = None
    """Most tokens in an answer; negative is unlimited, up to the context length."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    """Number of last tokens that penalties apply to; 0 is off, -1 the whole context."""
    repeat_limit: int | None = None
    """Tokens after which an answer that only repeats a short piece ends; 0 for no limit."""
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None

    def over(self, base: Parameters) -> Parameters:
        """Return `base` overridden by every value that is set here; `stop` is replaced whole."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(base, **{k: v for k, v in values.items() if v is not None})

    @property
    def load_time(self) -> Parameters:
        """The parameters in `LOAD_TIME`, with the others unset."""
        return Parameters(**{name: getattr(self, name) for name in LOAD_TIME})

    def lines(self) -> list[tuple[str, str]]:
        """Return every set value as `(name, text)`, with one entry for each stop string.

        The texts are those of PARAMETER lines, with booleans as true and false.
        """
        lines: list[tuple[str, str]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, tuple):
                lines.extend((name, text) for text in value)
            elif isinstance(value, bool):
                lines.append((name, "true" if value else "false"))
            elif value is not None:
                lines.append((name, str(value)))
        return lines


DEFAULTS = Parameters(
    num_ctx=4096,
    num_batch=512,
    num_gpu=-1,
    use_mmap=True,
    num_thread=0,
    num_thread_batch=0,
    kv_cache_type="f16",
    rpc_hosts="none",
    draft_num_predict=4,
    num_keep=4,
    seed=-1,
    num_predict=-1,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    typical_p=1.0,
    repeat_last_n=64,
    repeat_limit=400,
    temperature=0.8,
    repeat_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    stop=(),
)
"""Values for unset parameters: Ollama's run-time values (its older documentation differs), with
its context length for machines with less than 23 GiB of GPU memory. `main_gpu`, `num_ubatch` and
`flash_attention` stay unset."""

LOAD_TIME = (
    *("num_ctx", "num_batch", "num_ubatch", "num_gpu", "main_gpu", "use_mmap"),
    *("num_thread", "num_thread_batch", "flash_attention", "kv_cache_type", "rpc_hosts"),
    "draft_num_predict",
)
"""Parameters that decide how a base is loaded; changing one reloads it."""

KV_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q4_1", "q4_0")
"""Data types of the KV cache, most bits first (kv_cache_types in llama.cpp's common/arg.cpp)."""

_TYPES_TEXT = f"{', '.join(KV_CACHE_TYPES[:-1])} or {KV_CACHE_TYPES[-1]}"

OWN = MappingProxyType(
    {
        "num_ubatch": "prompt tokens computed at once, at most `num_batch`; unset, as many",
        "num_thread_batch": "threads for the prompt; 0 takes as many as `num_thread`",
        "flash_attention": "`true` or `false`; unset, off on the processor, where it slows "
        "decoding down, else llama.cpp chooses",
        "kv_cache_type": f"data type of the KV cache: {_TYPES_TEXT}; unset, f16",
        "repeat_limit": "tokens after which an answer that only repeats one short piece ends; 0 for"
        " no limit, unset 400",
        "rpc_hosts": "machines that compute layers, `HOST:PORT,HOST:PORT`; `none` for no machine",
    }
)
"""Parameters that Ollama does not have, each with its description."""

DEPRECATED = frozenset(
    (
        *("f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta", "mirostat_tau"),
        *("penalize_newline", "use_mlock", "vocab_only"),
    )
)
"""Former Ollama parameters; they are accepted with a warning and have no effect."""

KINDS = MappingProxyType(
    {
        "main_gpu": int,
        "num_ubatch": int,
        "flash_attention": bool,
        **{
            name: str if isinstance(default, tuple) else type(default)
            for name, default in msgspec.structs.asdict(DEFAULTS).items()
            if default is not None
        },
    }
)
"""The type of each parameter's value; for `stop`, the type of each of its strings."""

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_INT32_MAX = 2**31 - 1
# Inclusive bounds of the values that the sampler or the runtime can use.
_RANGES: dict[str, tuple[float, float]] = {
    "num_ctx": (1, _INT32_MAX),
    "num_batch": (1, _INT32_MAX),
    "num_ubatch": (1, _INT32_MAX),
    "num_gpu": (-1, _INT32_MAX),
    "main_gpu": (0, _INT32_MAX),
    "num_thread": (0, 4096),
    "num_thread_batch": (0, 4096),
    "seed": (-(2**63), 2**63 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0),
    "repeat_last_n": (-1, _INT32_MAX),
    "repeat_limit": (0, _INT32_MAX),
    "temperature": (0.0, 1e6),
    "repeat_penalty": (1e-6, 1e6),
}
# llama.cpp splits an endpoint at its first colon and supports IPv4 only.
_HOST = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):([0-9]{1,5})\Z")
_WIDEST_INTEGER = (-_INT32_MAX, _INT32_MAX)
_WIDEST_FLOAT = (-1e6, 1e6)


def parse_value(name: str, text: str) -> Value:
    """Return the value that `PARAMETER name text` sets; for `stop`, one string.

    Raises `ParameterError` for an unknown or deprecated name, a text of the wrong type, and a
    number outside its range.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise ParameterError(f"unknown parameter '{shortened(name)}'{hint(name, KINDS)}")
    if kind is not str and COMMENT.search(text):
        raise ParameterError(f"invalid value [{shortened(text)}] of {name}: {NO_COMMENT}")
    if name == "kv_cache_type":
        if text not in KV_CACHE_TYPES:
            known = ", ".join(KV_CACHE_TYPES)
            raise ParameterError(f"{name} must be one of {known}, not {quoted(text)}")
        return text
    if name == "rpc_hosts":
        return ",".join(rpc_hosts(text)) or "none"
    if kind is str:
        if not text:
            raise ParameterError(f"{name} needs a text that is not empty")
        return text
    if kind is bool:
        if text not in _BOOLEANS:
            raise ParameterError(f"invalid bool value [{shortened(text)}]: {name} is true or false")
        return _BOOLEANS[text]
    # Python refuses to convert more than 4300 digits; no bound here has more than 19.
    if kind is int:
        if not _INTEGER.match(text) or len(text) > 40:
            raise ParameterError(f"invalid int value [{shortened(text)}]: {name} is a whole number")
        return _within(name, int(text), _RANGES.get(name, _WIDEST_INTEGER))
    number = float(text) if _FLOAT.match(text) else math.nan
    if not math.isfinite(number):
        raise ParameterError(f"invalid float value [{shortened(text)}]: {name} is a number")
    return _within(name, number, _RANGES.get(name, _WIDEST_FLOAT))


def rpc_hosts(text: str | None) -> tuple[str, ...]:
    """Return the distinct `host:port` entries of an `rpc_hosts` value; empty for `none` and None.

    Raises `ParameterError` for a host without a port from 1 to 65535, and for a host that is
    neither a name nor an IPv4 address.
    """
    if text is None or text.strip() == "none":
        return ()
    hosts = dict.fromkeys(host.strip() for host in text.split(","))
    for host in hosts:
        match = _HOST.match(host)
        if match is None or not 1 <= int(match[2]) <= 65535:
            raise ParameterError(
                f"rpc_hosts takes HOST:PORT with commas between them, such as 10.0.0.2:50052, or"
                f" none; {quoted(host)} is no host with a port from 1 to 65535"
            )
    return tuple(hosts)


def build_parameters(values: Iterable[tuple[str, Value]]) -> Parameters:
    """Collect parsed values: the last value of a name wins, `stop` gathers all its strings."""
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
