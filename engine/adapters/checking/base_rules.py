"""Check that the names and shapes of an adapter's tensors fit a base model.

Source: `llama_adapter_lora_init_impl` in llama-adapter.cpp and the graph that uses the pairs
(`build_lora_mm`, `build_lora_mm_id`, `build_inp_embd` in llama-graph.cpp). llama.cpp compares two
numbers per tensor. A wrong number of experts, a 3D pair on a matrix and a flipped pair on a tied
output pass its check and end in an abort or a segmentation fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.adapters.checking.rules import Broken, Rule, dimensions, some
from engine.adapters.checking.tied_output import can_untie
from engine.adapters.pairs import OUTPUT, TOKEN_EMBEDDING, Pair, pairs_of
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from modelfiles.wording import shown


def base_rules_broken(adapter: GgufHeader, base: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule that `adapter` breaks on `base`, without reading tensor data."""
    return tuple(broken for rule in _RULES for broken in rule(adapter, base))


def _has_architecture_of(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    ours, theirs = adapter.architecture, base.architecture
    if ours is None or ours != theirs:
        said = "no architecture" if ours is None else f"the architecture {shown(ours)}"
        yield Broken(
            Rule.ARCHITECTURE,
            f"The adapter {adapter.path} is for {said}, but the base {base.path} is "
            f"{shown(theirs or 'unknown')}: use the base that it was trained on.",
        )


def _has_targets_in(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    absent = [pair.target for pair in pairs_of(adapter) if pair.target not in base.tensors]
    if not absent:
        return
    if absent == [OUTPUT]:
        advice = "its output shares the embeddings' weights; "
        advice += _untying_advice(base, "lm_head")
    else:
        advice = "use the base that it was trained on, or convert it for this one"
    yield Broken(
        Rule.ABSENT,
        f"The adapter {adapter.path} changes {some(absent)}, absent in the base {base.path}: "
        f"{advice}.",
    )


def _has_dimensions_of(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    wrong = []
    for pair, weight in _matched(adapter, base):
        n_in, n_out = weight.ne[:2]
        if pair.is_flipped:
            fits = pair.a.ne[1] == n_out and pair.b.ne[1] == n_in
        else:
            fits = pair.a.ne[0] == n_in and pair.b.ne[1] == n_out
        if not fits:
            wrong.append((pair, weight))
    if wrong:
        pair, weight = wrong[0]
        yield Broken(
            Rule.DIMENSION,
            f"The adapter {adapter.path} is for a model of another size: its pair of "
            f"{dimensions(pair.a)} and {dimensions(pair.b)} does not fit the base's "
            f"{dimensions(weight)} in {some([p.target for p, _ in wrong])}; use the base that "
            "it was trained on.",
        )


def _has_experts_of(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    wrong = [
        (pair, weight)
        for pair, weight in _matched(adapter, base)
        if _is_stack(weight) and not pair.a.ne[2:] == pair.b.ne[2:] == weight.ne[2:]
    ]
    if wrong:
        pair, weight = wrong[0]
        yield Broken(
            Rule.EXPERTS,
            f"The adapter {adapter.path} has pairs for {pair.a.ne[2]} and {pair.b.ne[2]} experts "
            f"where the base {base.path} has {weight.ne[2]}, in "
            f"{some([p.target for p, _ in wrong])}: convert it for this base.",
        )


def _has_matrices(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    wrong = [
        pair.target
        for pair, weight in _matched(adapter, base)
        if not _is_stack(weight) and not pair.a.ne[2:] == pair.b.ne[2:] == (1, 1)
    ]
    if wrong:
        yield Broken(
            Rule.NOT_MATRIX,
            f"The adapter {adapter.path} has more than two dimensions in {some(wrong)}, a matrix "
            f"in the base {base.path}: convert it again.",
        )


def _leaves_tied_output(adapter: GgufHeader, base: GgufHeader) -> Iterator[Broken]:
    # The tied output looks up its LoRA pair by the tensor's name and finds the embedding's flipped
    # pair; the multiplication aborts while the graph is reserved.
    adapts_embedding = any(pair.target == TOKEN_EMBEDDING for pair in pairs_of(adapter))
    if adapts_embedding and OUTPUT not in base.tensors:
        yield Broken(
            Rule.TIED_OUTPUT,
            f"The adapter {adapter.path} changes the embeddings, whose weights the base "
            f"{base.path} also uses for its output, where llama.cpp would abort: "
            f"{_untying_advice(base, 'embed_tokens')}.",
        )


def _untying_advice(base: GgufHeader, module: str) -> str:
    train = f"train the adapter without {module}"
    return f"merge it with 'tui merge', or {train}" if can_untie(base.architecture) else train


def _matched(adapter: GgufHeader, base: GgufHeader) -> Iterator[tuple[Pair, TensorInfo]]:
    """Yield each pair whose target is in the base, with the base tensor."""
    for pair in pairs_of(adapter):
        weight = base.tensors.get(pair.target)
        if weight is not None:
            yield pair, weight


def _is_stack(weight: TensorInfo) -> bool:
    """Return whether a base tensor holds one matrix per expert."""
    return weight.ne[2:] != (1, 1)


_RULES: tuple[Callable[[GgufHeader, GgufHeader], Iterator[Broken]], ...] = (
    _has_architecture_of,
    _has_targets_in,
    _has_dimensions_of,
    _has_experts_of,
    _has_matrices,
    _leaves_tied_output,
)
