"""The generated models have the properties that the benchmarks rely on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine.protocol.events import Finished
from engine.protocol.values import BaseReference, LoadSpec
from engine.runtime.answer.generation import generate
from engine.runtime.runtime import Runtime
from modelfiles.parameters import Parameters
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.conversation import Prompts, ask_runtime, greedy
from tests.benchmarks.engines import SCALE, quiet, runtime_for, stack_of_first
from tests.benchmarks.shapes import TINY, Files, files_of


@pytest.fixture(scope="module", params=["q8_0", "q4_0"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    shape = dataclasses.replace(TINY, dtype=request.param)
    return files_of(shape, tmp_path_factory.mktemp("models"))


@pytest.fixture
def spec(files: Files) -> LoadSpec:
    return LoadSpec(BaseReference(str(files.base)), Parameters(num_ctx=512, num_thread=1))


def test_a_prompt_has_exactly_the_tokens_asked_for(spec: LoadSpec) -> None:
    prompts = Prompts()
    with Runtime(spec) as runtime:
        for n_tokens in (8, 100, 300):
            assert ask_runtime(runtime, prompts.next(n_tokens), 1).stats.n_prompt == n_tokens


def test_no_two_prompts_share_a_prefix(spec: LoadSpec) -> None:
    prompts = Prompts()
    with Runtime(spec) as runtime:
        costs = [ask_runtime(runtime, prompts.next(64), 1) for _ in range(3)]
    assert max(cost.stats.n_reused for cost in costs) <= 5


def test_an_answer_never_ends_by_itself(files: Files, spec: LoadSpec) -> None:
    with Runtime(spec) as runtime:
        for n in (0, 8):
            runtime.set_stack(stack_of_first(files, n))
            assert ask_runtime(runtime, Prompts().next(16), 200).stats.n_decoded == 200


def test_the_weights_are_neither_silent_nor_wild(files: Files, spec: LoadSpec) -> None:
    logits = []
    with Runtime(spec) as runtime:
        for n in (0, 1, 8):
            runtime.set_stack(stack_of_first(files, n))
            ask_runtime(runtime, Prompts().next(32), 1)
            logits.append(runtime.context.logits())
    assert all(np.isfinite(each).all() for each in logits)
    assert 0.1 < logits[0].std() < 100
    assert np.abs(logits[1] - logits[0]).max() > 1e-3
    assert np.abs(logits[2] - logits[1]).max() > 1e-3


# With several adapters, llama.cpp's order of adding them, and so the rounding, differs between
# runs: on a quantised base that is enough to change a close choice.
@pytest.mark.parametrize("n_adapters", [0, 1])
def test_the_bare_loop_answers_as_the_engine_does(
    files: Files, spec: LoadSpec, n_adapters: int
) -> None:
    messages = Prompts().next(300)  # more than one chunk of the prompt
    paths = [adapter.file for adapter in files.adapters]
    one_by_one = quiet("never")  # a fused quantised base rounds differently
    with (
        runtime_for(spec, one_by_one) as runtime,
        BareLoop(files.base, paths, runtime) as bare,
    ):
        runtime.set_stack(stack_of_first(files, n_adapters))
        *_, finished = generate(runtime, greedy(messages, 24))
        assert isinstance(finished, Finished)
        bare.apply(n_adapters, SCALE)
        tokens = runtime.model.tokenize(messages[0].content + "\n")
        answer = bare.answer(tokens, 24).answer
        pieces = b"".join(runtime.model.piece(token) for token in answer)
    assert finished.text == pieces.decode("utf-8", "replace")


def test_the_bare_loop_applies_as_many_adapters_as_it_is_told(files: Files, spec: LoadSpec) -> None:
    paths = [adapter.file for adapter in files.adapters]
    with runtime_for(spec, quiet("never")) as runtime, BareLoop(files.base, paths, runtime) as bare:
        tokens = runtime.model.tokenize("What does a scale do?")
        answers = []
        for n_adapters in (0, 1, 8, 0):
            bare.apply(n_adapters, 1.0)
            answers.append(bare.answer(tokens, 16).answer)
    assert len(set(answers)) == 3
    assert answers[0] == answers[3]


def test_files_are_written_once(files: Files) -> None:
    before = files.base.stat().st_mtime_ns
    again = files_of(files.shape, files.base.parent)
    assert again == files
    assert files.base.stat().st_mtime_ns == before
    assert not list(files.base.parent.glob("*.part"))
