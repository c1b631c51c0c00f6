"""After any swap or rescale the next logits are those of a cold engine with the same stack."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from engine.adapters.read import read_adapter
from engine.llama.context import Context
from engine.protocol.settings import EngineSettings, FuseMode
from engine.protocol.values import BaseReference, LoadSpec
from engine.runtime.load_options import PREFILL_CHUNK
from engine.runtime.runtime import Runtime
from engine.stack import AdapterStack, stack_of
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.tiny_memories import Memory, write_memory_adapter, write_memory_base

Logits = npt.NDArray[np.float32]
PROMPT = "What does the scale do? " * 8


def logits(runtime: Runtime, tokens: Sequence[int]) -> Logits:
    for _n_done in runtime.prefill(tokens):
        pass
    return runtime.context.logits()


def cold_logits(runtime: Runtime, tokens: Sequence[int]) -> Logits:
    """Evaluate in a new context, under the stack in force and with the same loaded adapters."""
    context = Context(
        runtime.model,
        n_ctx=512,
        n_batch=PREFILL_CHUNK,
        n_threads=1,
        uses_flash_attention=runtime.context.uses_flash_attention,
    )
    with context:
        context.set_adapters(runtime.forms.served(runtime.stack))
        for start in range(0, len(tokens), PREFILL_CHUNK):
            context.decode(tokens[start : start + PREFILL_CHUNK])
        return context.logits()


@pytest.fixture
def stacks(tiny: Tiny) -> list[AdapterStack]:
    """A walk through swaps, rescales, toggles and a bypass."""
    both = stack_of([(tiny.first, 1.0), (tiny.second, 0.5)])
    return [
        AdapterStack(),
        stack_of([(tiny.first, 1.0)]),
        stack_of([(tiny.second, 1.0)]),
        both,
        both.with_scale("first", -0.5),
        both.toggled("second"),
        both.bypassed(),
        both,
    ]


@pytest.mark.parametrize("fuse", ["always", "never"])
def test_after_every_change_the_logits_equal_a_cold_engine_bit_for_bit(
    runtime: Runtime, stacks: list[AdapterStack], fuse: FuseMode
) -> None:
    # What a snapshot gives back leaves one token to evaluate, which rounds otherwise alone.
    runtime.configure(EngineSettings(fuse=fuse, kv_memory_bytes=0))
    tokens = runtime.model.tokenize(PROMPT)
    assert len(tokens) > PREFILL_CHUNK
    for stack in stacks:
        runtime.set_stack(stack)
        assert np.array_equal(logits(runtime, tokens), cold_logits(runtime, tokens)), stack.label


def test_without_the_invalidation_the_adapter_would_have_no_effect(
    runtime: Runtime, tiny: Tiny
) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    base = logits(runtime, tokens)
    runtime.set_stack(stack_of([(tiny.first, 1.0)]))
    # What a server does that keeps its cache over a swap: every token but the last is reused.
    for _n_done in runtime.prefill(tokens, keeps=True):
        pass
    stale = runtime.context.logits()
    assert runtime.is_approximate
    runtime.kv.clear()
    fresh = logits(runtime, tokens)
    effect = np.abs(fresh - base).max()
    assert effect > 0.5
    assert np.abs(stale - fresh).max() > 0.1 * effect


def test_an_adapter_at_scale_zero_is_the_base_bit_for_bit(runtime: Runtime, tiny: Tiny) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    base = logits(runtime, tokens)
    runtime.set_stack(stack_of([(tiny.first, 0.0), (tiny.second, 1.0)]).toggled("second"))
    # The cache rightly still holds for this stack, but one token evaluated alone rounds otherwise
    # than as the last of a chunk (about 1e-6).
    runtime.kv.clear()
    assert np.array_equal(logits(runtime, tokens), base)


def test_a_rescale_back_before_the_next_answer_keeps_the_cache(
    runtime: Runtime, tiny: Tiny
) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    stack = stack_of([(tiny.first, 1.0)])
    runtime.set_stack(stack)
    logits(runtime, tokens)
    runtime.set_stack(stack.with_scale("first", 0.3))
    runtime.set_stack(stack)
    assert next(runtime.prefill(tokens)) == len(tokens) - 1


def test_another_process_computes_the_same_within_the_order_of_summation(
    runtime: Runtime, tiny: Tiny
) -> None:
    stack = stack_of([(tiny.first, 0.8), (tiny.second, -0.6)])
    tokens = runtime.model.tokenize(PROMPT)
    runtime.set_stack(stack)
    here = logits(runtime, tokens)
    program = (
        "import sys, json, msgspec\n"
        "from engine.protocol.values import BaseReference, LoadSpec\n"
        "from engine.runtime.runtime import Runtime\n"
        "from engine.stack import AdapterStack\n"
        "spec, stack, text = json.load(sys.stdin)\n"
        "with Runtime(msgspec.convert(spec, LoadSpec)) as runtime:\n"
        "    runtime.set_stack(msgspec.convert(stack, AdapterStack))\n"
        "    list(runtime.prefill(runtime.model.tokenize(text)))\n"
        "    print(json.dumps(runtime.context.logits().tolist()))\n"
    )
    spec: LoadSpec = tiny.spec()
    job = json.dumps([msgspec.to_builtins(spec), msgspec.to_builtins(stack), PROMPT])
    done = subprocess.run(
        [sys.executable, "-c", program], input=job, capture_output=True, text=True, check=True
    )
    assert np.abs(np.array(json.loads(done.stdout)) - here).max() < 1e-3


def test_coming_back_to_a_stack_evaluates_one_token(runtime: Runtime, tiny: Tiny) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    stack = stack_of([(tiny.first, 1.0)])
    plain = logits(runtime, tokens)
    runtime.set_stack(stack)
    logits(runtime, tokens)
    runtime.set_stack(AdapterStack())
    assert next(runtime.prefill(tokens)) == len(tokens) - 1
    assert np.abs(logits(runtime, tokens) - plain).max() < 0.01


def test_a_stack_set_in_the_middle_of_a_prompt_is_in_force_for_all_of_it(
    runtime: Runtime, tiny: Tiny
) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    seen = []
    for n_done in runtime.prefill(tokens):
        seen.append(n_done)
        if len(seen) == 2:
            runtime.set_stack(stack_of([(tiny.first, 1.0)]))
    assert seen == [0, PREFILL_CHUNK, 0, PREFILL_CHUNK, len(tokens)]
    assert np.array_equal(runtime.context.logits(), cold_logits(runtime, tokens))


def test_kept_it_goes_on_where_it_was(runtime: Runtime, tiny: Tiny) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    seen = []
    for n_done in runtime.prefill(tokens, keeps=True):
        seen.append(n_done)
        if len(seen) == 2:
            runtime.set_stack(stack_of([(tiny.first, 1.0)]))
    assert seen == [0, PREFILL_CHUNK, PREFILL_CHUNK, len(tokens)]
    assert runtime.is_approximate


@pytest.mark.parametrize("memory", ["recurrent", "hybrid"])
def test_where_nothing_can_be_cut_an_answer_is_still_made_again_without_evaluation(
    tmp_path: Path, memory: Memory
) -> None:
    base = write_memory_base(tmp_path / "base.gguf", memory)
    adapter = read_adapter(write_memory_adapter(tmp_path / "a.gguf", base, memory, seed=1))
    with Runtime(
        LoadSpec(BaseReference(str(base)), Parameters(num_thread=1, num_ctx=512))
    ) as runtime:
        tokens = runtime.model.tokenize(PROMPT)
        n_last = len(tokens) - 1
        first = logits(runtime, tokens)
        runtime.decode(50)
        assert list(runtime.prefill(tokens)) == [n_last, len(tokens)]
        assert np.array_equal(runtime.context.logits(), first)
        runtime.set_stack(stack_of([(adapter, 1.0)]))
        assert next(runtime.prefill(tokens)) == 0
        logits(runtime, tokens)
        runtime.set_stack(AdapterStack())
        assert np.array_equal(logits(runtime, tokens), first)
        assert next(runtime.prefill([*tokens, 50, 51])) == len(tokens), "the longer state"
