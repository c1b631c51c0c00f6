"""Check whether adapters can be merged into a base; more can be merged than can run on it.

All rules of `adapters.checking` apply, except for tied embeddings: an adapter of the embedding or
the output of a base that shares their weights aborts llama.cpp or finds no tensor, but can be
merged, because the merged file gets both tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
                "uses its embeddings as its output, which llama.cpp cannot part in "
                f"{shown(base.architecture or '')} models: train the adapter without embed_tokens "
                "and lm_head.",
                base.path,
            )
        base = untied(base)
    for adapter in adapters:
        require_kept(check(adapter, base))
        _require_unscaled(adapter, base)
    return base


def merge_notices(adapters: Iterable[tuple[str, GgufHeader]]) -> tuple[str, ...]:
    """Return warnings about parts of the named adapters that are not merged or act differently."""
    return tuple(text for name, header in adapters for text in _notices_of(name, header))


def _require_unscaled(adapter: GgufHeader, base: GgufHeader) -> None:
    # llama.cpp multiplies the product by this scale before it adds the LoRA.
    scaled = [
        pair.target
        for pair in pairs_of(adapter)
        if pair.target.removesuffix("weight") + "scale" in base.tensors
    ]
    if scaled:
        raise AdapterError(
            f"scales {some(scaled)} apart from its weights, which a merge would get wrong: merge "
            "into the full-precision model instead.",
            base.path,
        )


def _notices_of(name: str, adapter: GgufHeader) -> Iterator[str]:
    norms = [tensor for tensor in adapter.tensors if tensor.endswith(IGNORED_SUFFIX)]
    if norms:
        yield f"{name} also holds {some(norms)}: norms are not merged, as llama.cpp ignores them."
    if invocation_tokens(adapter):
        yield f"{name} acts only after its invocation tokens, but everywhere once it is merged."
