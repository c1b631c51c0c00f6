"""Check whether adapters can be merged into a base; more can be merged than can run on it.

All rules of `adapters.checking` apply, except for tied embeddings: an adapter of the embedding or
the output of a base that shares their weights aborts llama.cpp or finds no tensor, but can be
merged, because the merged file gets both tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.adapters.checking.check import check
from engine.adapters.checking.rules import require_kept, some
from engine.adapters.checking.tied_output import can_untie, needs_untying, untied
from engine.adapters.pairs import IGNORED_SUFFIX, invocation_tokens, pairs_of
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader
from modelfiles.wording import shown


def require_mergeable(base: GgufHeader, adapters: Sequence[GgufHeader]) -> GgufHeader:
    """Return the header that the adapters are merged into: `base`, untied if they require it.

    Reads the adapters' weights once to check that all are finite. Raises `AdapterError` with the
    first broken rule in one sentence.
    """
    if needs_untying(base, adapters):
        if not can_untie(base.architecture):
            raise AdapterError(
                f"The embeddings of {base.path} are its output, too, and llama.cpp takes no output "
                f"of its own in {shown(base.architecture or '')} models, so a change of one of the "
                "two cannot be merged: train the adapter without embed_tokens and lm_head."
            )
        base = untied(base)
    for adapter in adapters:
        require_kept(check(adapter, base))
        _require_unscaled(adapter, base)
    return base


def merge_notices(adapters: Sequence[GgufHeader]) -> tuple[str, ...]:
    """Return warnings about parts of the adapters that are not merged, or act differently."""
    return tuple(sentence for adapter in adapters for sentence in _notices_of(adapter))


def _require_unscaled(adapter: GgufHeader, base: GgufHeader) -> None:
    # llama.cpp multiplies the product by this scale before it adds the LoRA.
    scaled = [
        pair.target
        for pair in pairs_of(adapter)
        if pair.target.removesuffix("weight") + "scale" in base.tensors
    ]
    if scaled:
        raise AdapterError(
            f"The base {base.path} keeps a scale apart from the weights of {some(scaled)}, which "
            "merging would get wrong: merge into the full-precision model instead."
        )


def _notices_of(adapter: GgufHeader) -> Iterator[str]:
    norms = [name for name in adapter.tensors if name.endswith(IGNORED_SUFFIX)]
    if norms:
        yield (
            f"The adapter {adapter.path} also holds {some(norms)}: norms are not merged, as "
            "llama.cpp does not use them either."
        )
    if invocation_tokens(adapter):
        yield (
            f"The adapter {adapter.path} acts from its invocation tokens on, but merged it acts "
            "everywhere."
        )
