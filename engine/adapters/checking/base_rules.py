"""Check that the names and shapes of an adapter's tensors fit a base model.

Source: `llama_adapter_lora_init_impl` in llama-adapter.cpp and the graph that uses the pairs
(`build_lora_mm`, `build_lora_mm_id`, `build_inp_embd` in llama-graph.cpp). llama.cpp compares two
numbers per tensor. A wrong number of experts, a 3D pair on a matrix and a flipped pair on a tied
output pass its check and end in an abort or a segmentation fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from engine.adapters.checking.rules import Broken, Rule, broken_by, dimensions, some
from engine.adapters.checking.tied_output import can_untie
from engine.adapters.pairs import OUTPUT, TOKEN_EMBEDDING, Pair, pairs_of
from engine.gguf.header import GgufHeader
from engine.gguf.tensors import TensorInfo
from modelfiles.wording import shown


def base_rules_broken(adapter: GgufHeader, base: GgufHeader) -> tuple[Broken, ...]:
    """Return every rule that `adapter` breaks on `base`, without reading tensor data."""
    faults = ((rule, fault_of(adapter, base)) for rule, fault_of in _FAULTS.items())
    return broken_by(adapter, faults)


def _other_architecture(adapter: GgufHeader, base: GgufHeader) -> str:
    ours, theirs = adapter.architecture, base.architecture
    if ours is not None and ours == theirs:
        return ""
    return (
        f"is for the architecture {shown(ours or 'unknown')}, but the base is "
        f"{shown(theirs or 'unknown')}: use the base it was trained on"
    )


def _absent_targets(adapter: GgufHeader, base: GgufHeader) -> str:
    absent = [pair.target for pair in pairs_of(adapter) if pair.target not in base.tensors]
    if not absent:
        return ""
    if absent == [OUTPUT]:
        advice = f"the output shares the embeddings; {_untying_advice(base, 'lm_head')}"
    else:
        advice = "use the base it was trained on, or convert it for this one"
    return f"changes {some(absent)}, absent in the base: {advice}"


def _other_dimensions(adapter: GgufHeader, base: GgufHeader) -> str:
    wrong = []
    for pair, weight in _matched(adapter, base):
        n_in, n_out = weight.ne[:2]
        if pair.is_flipped:
            fits = pair.a.ne[1] == n_out and pair.b.ne[1] == n_in
        else:
            fits = pair.a.ne[0] == n_in and pair.b.ne[1] == n_out
        if not fits:
            wrong.append((pair, weight))
    if not wrong:
        return ""
    pair, weight = wrong[0]
    return (
        f"is for a model of another size: {dimensions(pair.a)} and {dimensions(pair.b)} do not fit "
        f"the base's {dimensions(weight)} in {some([p.target for p, _ in wrong])}; use the base it "
        "was trained on"
    )


def _other_experts(adapter: GgufHeader, base: GgufHeader) -> str:
    wrong = [
        (pair, weight)
        for pair, weight in _matched(adapter, base)
        if _is_stack(weight) and not pair.a.ne[2:] == pair.b.ne[2:] == weight.ne[2:]
    ]
    if not wrong:
        return ""
    pair, weight = wrong[0]
    return (
        f"has pairs for {pair.a.ne[2]} and {pair.b.ne[2]} experts, but the base has "
        f"{weight.ne[2]}, in {some([p.target for p, _ in wrong])}: convert it for this base"
    )


def _no_matrices(adapter: GgufHeader, base: GgufHeader) -> str:
    wrong = [
        pair.target
        for pair, weight in _matched(adapter, base)
        if not _is_stack(weight) and not pair.a.ne[2:] == pair.b.ne[2:] == (1, 1)
    ]
    if not wrong:
        return ""
    return f"has more than two dimensions in {some(wrong)}, a matrix in the base: convert it again"


def _tied_output(adapter: GgufHeader, base: GgufHeader) -> str:
    # The tied output looks up its LoRA pair by the tensor's name and finds the embedding's flipped
    # pair; the multiplication aborts while the graph is reserved.
    adapts_embedding = any(pair.target == TOKEN_EMBEDDING for pair in pairs_of(adapter))
    if not adapts_embedding or OUTPUT in base.tensors:
        return ""
    return (
        "changes the embeddings, which the base also uses as its output, where llama.cpp would "
        f"abort: {_untying_advice(base, 'embed_tokens')}"
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


_FAULTS: Mapping[Rule, Callable[[GgufHeader, GgufHeader], str]] = {
    Rule.ARCHITECTURE: _other_architecture,
    Rule.ABSENT: _absent_targets,
    Rule.DIMENSION: _other_dimensions,
    Rule.EXPERTS: _other_experts,
    Rule.NOT_MATRIX: _no_matrices,
    Rule.TIED_OUTPUT: _tied_output,
}
"""What is wrong with an adapter on a base by each rule; an empty text if nothing is."""
