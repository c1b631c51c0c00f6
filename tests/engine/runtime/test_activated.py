"""An aLoRA acts from the last occurrence of its invocation tokens on; before it, the base does."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.adapters.read import read_adapter
from engine.gguf.metadata import ValueType
from engine.llama.context import Context
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished
from engine.protocol.settings import EngineSettings
from engine.protocol.values import ChatMessage
from engine.runtime import activated
from engine.runtime.answer.generation import generate
from engine.runtime.load_options import PREFILL_CHUNK
from engine.runtime.runtime import Runtime
from engine.stack import Adapter, AdapterStack, stack_of
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.gguf_raw import RawGguf, RawValue

INVOCATION = (65, 66, 65)
BEFORE = [70 + i % 20 for i in range(60)]
AFTER = [30 + i % 20 for i in range(30)]
PROMPT = [*BEFORE, *INVOCATION, *AFTER]


def waiting(adapter: Adapter, tokens: tuple[int, ...] = INVOCATION) -> Adapter:
    return msgspec.structs.replace(adapter, invocation_tokens=tokens)


def ends_and_labels(stack: AdapterStack, tokens: list[int]) -> list[tuple[int, str]]:
    return [(part.end, part.stack.label) for part in activated.plan(stack, tokens)]


@pytest.mark.parametrize(
    ("tokens", "wanted", "place"),
    [
        ([1, 2, 3, 1, 2], [1, 2], 3),
        ([1, 1, 2, 1, 1, 3], [1, 1, 2], 0),
        ([5, 5, 5, 5], [5, 5], 2),
        ([1, 2, 1, 2, 1, 3], [1, 2, 1], 2),
        ([1, 2], [1, 2], 0),
        ([1, 2], [2, 1], None),
        ([2], [1, 2], None),
    ],
)
def test_the_last_occurrence_counts_also_where_occurrences_overlap(
    tokens: list[int], wanted: list[int], place: int | None
) -> None:
    assert activated.last_occurrence(tokens, wanted) == place


def test_a_stack_without_such_adapters_is_one_segment(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    assert activated.plan(stack, PROMPT) == (activated.Segment(len(PROMPT), stack),)
    assert activated.notices(stack, PROMPT) == ()


def test_several_act_each_from_their_own_place_on(tiny: Tiny) -> None:
    stack = stack_of([(waiting(tiny.first), 1.0), (waiting(tiny.second, (30, 31)), 0.5)])
    assert ends_and_labels(stack, PROMPT) == [
        (60, "base"),
        (83, "first 1.00"),
        (93, "first 1.00 + second 0.50"),
    ]


def test_the_first_token_may_invoke(tiny: Tiny) -> None:
    stack = stack_of([(waiting(tiny.first), 1.0)])
    assert ends_and_labels(stack, [*INVOCATION, 1]) == [(4, "first 1.00")]


def test_one_that_is_not_invoked_stays_off_and_says_so(tiny: Tiny) -> None:
    stack = stack_of([(waiting(tiny.first), 1.0), (tiny.second, 1.0)])
    assert ends_and_labels(stack, BEFORE) == [(60, "second 1.00")]
    (notice,) = activated.notices(stack, BEFORE)
    assert "first stayed off" in notice
    assert activated.notices(stack.with_enabled("first", False), BEFORE) == ()


def test_invocation_tokens_are_read_from_the_file(tiny: Tiny, tmp_path: Path) -> None:
    raw = RawGguf.read(tiny.first.file)
    raw.metadata["adapter.alora.invocation_tokens"] = RawValue(
        ValueType.ARRAY, list(INVOCATION), ValueType.UINT32
    )
    path = raw.write(tmp_path / "waiting.gguf")
    assert read_adapter(path).invocation_tokens == INVOCATION
    assert tiny.first.invocation_tokens == ()


def test_the_logits_are_those_of_the_base_before_and_the_adapter_after(
    runtime: Runtime, tiny: Tiny
) -> None:
    stack = stack_of([(waiting(tiny.first), 1.0)])
    runtime.set_stack(stack)
    assert list(runtime.prefill(PROMPT)) == [0, 60, 93]
    runtime.decode(77)
    adapter = runtime.forms.adapter(tiny.first.sha256)
    with Context(
        runtime.model,
        n_ctx=512,
        n_batch=PREFILL_CHUNK,
        n_threads=1,
        uses_flash_attention=runtime.context.uses_flash_attention,
    ) as cold:
        cold.decode(PROMPT[:60])
        cold.set_adapters([(adapter, 1.0)])
        cold.decode(PROMPT[60:])
        cold.decode([77])
        assert np.array_equal(runtime.context.logits(), cold.logits())
    assert not runtime.is_approximate


def test_the_cache_of_the_base_serves_before_the_invocation(runtime: Runtime, tiny: Tiny) -> None:
    list(runtime.prefill(PROMPT))
    runtime.set_stack(stack_of([(waiting(tiny.first), 1.0)]))
    assert next(runtime.prefill(PROMPT)) == 60


def test_a_later_invocation_puts_the_earlier_one_back_under_the_base(
    runtime: Runtime, tiny: Tiny
) -> None:
    runtime.set_stack(stack_of([(waiting(tiny.first), 1.0)]))
    list(runtime.prefill(PROMPT))
    longer = [*PROMPT, 99, *INVOCATION, 98]
    assert list(runtime.prefill(longer)) == [60, 94, 98]


def test_added_during_an_answer_it_waits_for_the_next_prompt(runtime: Runtime, tiny: Tiny) -> None:
    list(runtime.prefill(BEFORE))
    runtime.set_stack(stack_of([(waiting(tiny.first), 1.0)]))
    for token in INVOCATION:
        runtime.decode(token)
    assert not runtime.is_approximate
    later = [*BEFORE, *INVOCATION, 77]
    assert list(runtime.prefill(later)) == [60, 64]


def test_an_answer_carries_the_notice(runtime: Runtime, tiny: Tiny) -> None:
    runtime.configure(EngineSettings(kv_memory_bytes=0))
    greedy = Parameters(temperature=0.0, num_predict=4)
    ask = ChatRequest((ChatMessage("user", "Hello"),), greedy)
    plain = list(generate(runtime, ask))[-1]
    runtime.set_stack(stack_of([(waiting(tiny.first, (1, 2, 3)), 1.0)]))
    last = list(generate(runtime, ask))[-1]
    assert isinstance(plain, Finished)
    assert isinstance(last, Finished)
    assert "first stayed off" in last.notices[0]
    assert (last.text, last.stats.is_approximate) == (plain.text, False)
