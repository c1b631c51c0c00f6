"""Convert a PEFT or MLX LoRA adapter into a GGUF adapter for one base model.

Needs neither torch nor transformers: the names and shapes of the tensors in the base's header
determine names, permutations and splits (`conversion.placement`). Reads, converts and writes one
pair at a time, so that memory use is that of one pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.adapters.checking.check import check_headers
from engine.adapters.checking.ignored_tensors import notices
from engine.adapters.checking.rules import require_kept
from engine.adapters.checking.untrained import is_untrained
from engine.adapters.conversion.converted_file import ConvertedWriter
from engine.adapters.conversion.encoding import OutType
from engine.adapters.conversion.placement.make_plan import make_plan
from engine.adapters.conversion.placement.plan import PlannedPair
from engine.adapters.foreign.read import read_source
from engine.adapters.foreign.source import LoraSource
from engine.disk.whole_output import new_file
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.model_header import require_base

__all__ = ["Conversion", "convert"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted adapter file and its properties."""

    path: Path
    name: str
    """`general.name` of the file."""
    architecture: str
    targets: tuple[str, ...]
    """The base tensors that have a pair, in file order."""
    ranks: tuple[int, ...]
    """The distinct ranks, ascending."""
    alpha: float
    """`adapter.lora.alpha`; llama.cpp scales each pair by alpha / rank."""
    n_folded: int
    """Number of pairs whose B carries the part of the scale that alpha cannot express."""
    types: Mapping[str, int]
    """Number of tensors by type, such as `F16`, the most common first."""
    size_bytes: int
    dropped: tuple[str, ...]
    """Modules of a vision or audio tower, which are not converted."""
    notices: tuple[str, ...]
    """Notices about the adapter on this base, one sentence each."""

    @property
    def n_pairs(self) -> int:
        """Number of base tensors that the adapter changes."""
        return len(self.targets)


def convert(
    source: Path | LoraSource,
    base: Path | GgufHeader,
    out: Path,
    *,
    out_type: OutType = "auto",
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Conversion:
    """Write a PEFT or MLX adapter as a GGUF adapter for `base`; equal arguments, equal bytes.

    If the file's one alpha cannot express a pair's scale, the remaining factor is multiplied into
    B in float64 and rounded once to float32 (an error of at most 2**-24); every other value keeps
    its bits in `auto` and `f32`. The written file is checked like any adapter (`check_headers`,
    and that all numbers are finite) before it replaces `out`.

    Args:
        source: The folder or file of the adapter, or the adapter as `read_source` returns it.
        base: The GGUF model that the adapter is for, or its header.
        out: The file to write atomically; replaces an older one.
        out_type: How weights are stored (`engine.adapters.conversion.encoding`).
        config: The `config.json` of the base, for the few architectures whose weights are
            multiplied by numbers that a GGUF file does not hold.
        name: `general.name`; by default the source's title.
        on_progress: Called with the fraction done, 0 to 1, after each pair.
        is_cancelled: Called before each pair.

    Raises:
        AdapterError: The adapter cannot be converted, does not fit the base, or holds numbers that
            are not finite.
        BaseError: The base is not a model.
        GgufError: The base is not a valid GGUF file.
        EngineError: A file cannot be read or written.
        Cancelled: `is_cancelled` returned true.
    """
    lora = source if isinstance(source, LoraSource) else read_source(source)
    header = base if isinstance(base, GgufHeader) else require_base(base)
    plan = make_plan(lora, header, config)
    _require_targets(lora, plan.pairs)
    title = _clean(lora.title if name is None else name)
    writer = ConvertedWriter(lora, header, plan.pairs, out_type, title)
    with new_file(out, "The converted adapter") as file:
        writer.write(file, on_progress, is_cancelled)
        written = _checked(Path(file.name), lora, header)
        size_bytes = written.file_size_bytes
        odd = [*notices(written, header), *_untrained(written)]
    return Conversion(
        path=out,
        name=title,
        architecture=header.architecture or "",
        targets=tuple(pair.target for pair in plan.pairs),
        ranks=tuple(sorted({pair.rank for pair in plan.pairs})),
        alpha=writer.scales.alpha,
        n_folded=sum(map(writer.scales.is_folded, plan.pairs)),
        types={type_.name: n for type_, n in Counter(writer.types).most_common()},
        size_bytes=size_bytes,
        dropped=lora.dropped,
        notices=(*lora.notices, *plan.notices, *writer.notices(), *odd),
    )


def _require_targets(source: LoraSource, pairs: Sequence[PlannedPair]) -> None:
    if not pairs:
        raise AdapterError("holds nothing to convert: train or download it again.", source.path)


def _checked(path: Path, source: LoraSource, base: GgufHeader) -> GgufHeader:
    """Return the header of the written file; raise `AdapterError` if it breaks a rule.

    The writer has already checked that each tensor's numbers are finite.
    """
    written = read_header(path)
    require_kept(check_headers(replace(written, path=source.path), base))
    return written


def _untrained(written: GgufHeader) -> Iterator[str]:
    if is_untrained(written):
        yield "The adapter changes nothing: its B factors are zero, as before any training."


def _clean(title: str) -> str:
    """Return `title` without control characters and lone surrogates, for storage and display."""
    text = title.encode("utf-8", "replace").decode()
    return "".join(c for c in text if c.isprintable()).strip()
