"""Fused and layered are one stack: either serves, and changing over costs no cache."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.adapters.read import read_adapter
from engine.errors import AdapterError
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from engine.protocol.settings import EngineSettings
from engine.runtime.runtime import Runtime
from engine.runtime.stacks import applied_stack
from engine.runtime.stacks.fuser import Fuser
from engine.stack import AdapterStack, stack_of
from tests.engine.conftest import Tiny
from tests.engine.runtime.stacks.test_stack_logits import PROMPT, Logits, logits
from tests.support.tiny_models import write_adapter


@pytest.fixture
def both(tiny: Tiny) -> AdapterStack:
    return stack_of([(tiny.first, 0.7), (tiny.second, -0.4)])


@pytest.fixture
def in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to be fused at once."""
    monkeypatch.setattr(applied_stack, "MAX_AT_ONCE_BYTES", 0)


def wait_until_built(runtime: Runtime) -> None:
    deadline_s = time.monotonic() + 60.0
    while runtime.forms.is_building:
        assert time.monotonic() < deadline_s


def in_form(tiny: Tiny, stack: AdapterStack, settings: EngineSettings) -> tuple[Logits, str]:
    with Runtime(tiny.spec(), settings=settings) as runtime:
        form = runtime.set_stack(stack)
        return logits(runtime, runtime.model.tokenize(PROMPT)), form


def test_both_forms_give_the_same_logits(tiny: Tiny, both: AdapterStack) -> None:
    layered, layered_form = in_form(tiny, both, EngineSettings(fuse="never"))
    fused, fused_form = in_form(tiny, both, EngineSettings(fuse="always"))
    assert (layered_form, fused_form) == ("layered", "fused")
    assert 0.0 < np.abs(layered - fused).max() < 1e-4


@pytest.mark.usefixtures("in_background")
def test_the_layered_form_serves_until_the_fused_one_is_ready(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    with monkeypatch.context() as patch:
        patch.setattr(Fuser, "ready", lambda _fuser, _digest: None)
        assert runtime.set_stack(both) == "layered"
        layered = logits(runtime, tokens)
        assert runtime.forms.form == "layered"
    wait_until_built(runtime)
    runtime.poll()
    assert runtime.forms.form == "fused"
    # The cache the layered form computed is the fused one's too: one token is evaluated.
    assert next(iter(runtime.prefill(tokens))) == len(tokens) - 1
    assert np.abs(logits(runtime, tokens) - layered).max() < 1e-4


@pytest.mark.usefixtures("in_background")
def test_a_change_while_it_is_built_makes_the_old_one_useless(
    runtime: Runtime, both: AdapterStack, tiny: Tiny
) -> None:
    runtime.set_stack(both)
    runtime.set_stack(stack_of([(tiny.first, 1.0)]))
    wait_until_built(runtime)
    runtime.poll()
    assert runtime.forms.form == "single"
    runtime.set_stack(both.with_scale("first", 0.1))
    wait_until_built(runtime)
    runtime.poll()
    fused = logits(runtime, runtime.model.tokenize(PROMPT))
    runtime.configure(EngineSettings(fuse="never"))
    runtime.kv.clear()
    layered = logits(runtime, runtime.model.tokenize(PROMPT))
    assert np.abs(fused - layered).max() < 1e-4


def test_going_back_and_forth_does_not_build_again(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.set_stack(both) == "fused"
    monkeypatch.setattr(Fuser, "build_now", pytest.fail)
    assert runtime.set_stack(both.bypassed()) == "none"
    assert runtime.set_stack(both) == "fused"


def test_a_fused_adapter_that_decodes_slower_is_not_used(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(*_arguments: object) -> Iterator[None]:
        yield
        return 0.5

    monkeypatch.setattr(applied_stack, "speed_ratio", slower)
    assert runtime.set_stack(both) == "fused"
    for _ in runtime.compare_forms():
        pass
    assert runtime.forms.form == "layered"
    # The verdict is about the adapters, not about their scales.
    assert runtime.set_stack(both.with_scale("first", 0.2)) == "layered"
    runtime.configure(EngineSettings(fuse="always"))
    assert runtime.forms.form == "fused"


def test_measuring_leaves_the_conversation_alone(runtime: Runtime, both: AdapterStack) -> None:
    tokens = runtime.model.tokenize(PROMPT)
    runtime.set_stack(both)
    logits(runtime, tokens)
    again = logits(runtime, tokens)
    for _ in runtime.compare_forms():
        pass
    runtime.configure(EngineSettings(fuse="always"))
    assert np.array_equal(logits(runtime, tokens), again)


def test_a_request_waits_for_one_token_of_the_measuring(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_decoded = 0
    decode = Context.decode

    def counted(context: Context, tokens: Sequence[int]) -> bool:
        nonlocal n_decoded
        n_decoded += 1
        return decode(context, tokens)

    monkeypatch.setattr(Context, "decode", counted)
    runtime.set_stack(both)
    n_steps, n_before = 0, 0
    for _ in runtime.compare_forms():
        n_steps += 1
        assert n_decoded - n_before <= 1
        n_before = n_decoded
    assert n_steps > 6


def test_an_adapter_whose_file_has_gone_leaves_the_stack_before_in_force(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, tmp_path: Path
) -> None:
    runtime.set_stack(both)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny.first.file.read_bytes()[:-4] + b"abcd")
    wrong = msgspec.structs.replace(tiny.first, path=str(copy), name="wrong", sha256="1" * 64)
    with pytest.raises(AdapterError, match="has changed"):
        runtime.set_stack(both.with_added(wrong))
    assert runtime.stack == both
    assert runtime.forms.form == "fused"


def test_a_stack_that_cannot_be_fused_is_served_one_by_one_and_not_waited_for(
    runtime: Runtime, both: AdapterStack, tmp_path: Path
) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    runtime.configure(EngineSettings(cache_folder=str(no_folder)))
    assert runtime.set_stack(both) == "layered"
    assert not runtime.forms.is_building


def uninvoked(tiny: Tiny, both: AdapterStack, tmp_path: Path) -> AdapterStack:
    """Return `both` with a third adapter that acts from tokens on which no prompt has."""
    third = read_adapter(write_adapter(tmp_path / "third.gguf", tiny.base, rank=4, seed=3))
    return both.with_added(msgspec.structs.replace(third, invocation_tokens=(1, 1, 1, 1)))


def test_what_is_left_of_a_stack_while_an_adapter_waits_is_fused_too(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, tmp_path: Path
) -> None:
    assert runtime.set_stack(uninvoked(tiny, both, tmp_path)) == "fused"
    assert runtime.forms.applied.digest == both.digest
    assert not runtime.forms.is_building


@pytest.mark.usefixtures("in_background")
def test_what_is_left_of_a_stack_is_fused_in_the_background_too(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, tmp_path: Path
) -> None:
    assert runtime.set_stack(uninvoked(tiny, both, tmp_path)) == "layered"
    wait_until_built(runtime)
    runtime.poll()
    assert runtime.forms.form == "fused"


def test_the_stack_of_a_prompt_that_invokes_an_adapter_is_fused_for_its_answer(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, tmp_path: Path
) -> None:
    stack = uninvoked(tiny, both, tmp_path)
    runtime.set_stack(stack)
    for _ in runtime.prefill([5, 6, 7, 1, 1, 1, 1, 8]):
        pass
    assert runtime.forms.applied.digest == stack.digest
    assert runtime.forms.form == "fused"


def loading(monkeypatch: pytest.MonkeyPatch) -> list[LoraAdapter]:
    """Return a list that gets every adapter loaded from here on."""
    loaded: list[LoraAdapter] = []

    def load(model: Model, path: Path) -> LoraAdapter:
        loaded.append(LoraAdapter(model, path))
        return loaded[-1]

    monkeypatch.setattr(applied_stack, "LoraAdapter", load)
    return loaded


def test_a_fused_adapter_in_use_stays_loaded_while_another_is_measured(
    runtime: Runtime,
    both: AdapterStack,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = uninvoked(tiny, both, tmp_path)
    tokens = runtime.model.tokenize(PROMPT)
    runtime.set_stack(stack)
    fused = logits(runtime, tokens)
    monkeypatch.setattr(applied_stack, "MAX_KEPT_BYTES", 0)
    loaded = loading(monkeypatch)
    # The whole stack is what the effect is measured of, and here it is fused as well.
    runtime.forms.want(stack)
    for _ in runtime.effects.measure_stack(stack):
        pass
    runtime.kv.clear()
    assert np.array_equal(logits(runtime, tokens), fused)
    (other,) = loaded
    assert other.path.name.startswith(stack.digest)
    assert other.is_closed, "one is kept, and that is the one in use"


def refusing(monkeypatch: pytest.MonkeyPatch, stack: AdapterStack) -> list[Path]:
    """Have the fused adapter of `stack` refused; return a list that gets every file tried."""
    tried: list[Path] = []

    def load(model: Model, path: Path) -> LoraAdapter:
        tried.append(path)
        if path.name.startswith(stack.digest):
            raise AdapterError("There is not enough memory.")
        return LoraAdapter(model, path)

    monkeypatch.setattr(applied_stack, "LoraAdapter", load)
    return tried


def test_a_fused_adapter_that_cannot_be_loaded_is_tried_once(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = refusing(monkeypatch, both)
    assert runtime.set_stack(both) == "layered"
    n_before = len(tried)
    runtime.poll()
    runtime.poll()
    assert len(tried) == n_before


def test_a_graph_without_room_refuses_a_stack_whose_fused_adapter_cannot_be_loaded(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = stack_of([(tiny.first, 1.0)])
    runtime.set_stack(single)
    monkeypatch.setattr(applied_stack, "FIXED_GRAPHS", frozenset({"llama"}))
    monkeypatch.setattr(applied_stack, "MAX_ONE_BY_ONE", 1)
    refusing(monkeypatch, both)
    with pytest.raises(AdapterError, match="at most 1 adapters"):
        runtime.set_stack(both)
    assert runtime.stack == single
    assert runtime.forms.form == "single"


def test_a_graph_without_room_gets_every_part_of_a_stack_fused(
    runtime: Runtime,
    both: AdapterStack,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applied_stack, "FIXED_GRAPHS", frozenset({"llama"}))
    monkeypatch.setattr(applied_stack, "MAX_ONE_BY_ONE", 1)
    stack = uninvoked(tiny, both, tmp_path)
    runtime.configure(EngineSettings(fuse="never"))
    assert runtime.set_stack(stack) == "fused"
    found = [runtime.forms.form for _ in runtime.prefill([5, 6, 7, 1, 1, 1, 1, 8])]
    assert set(found) == {"fused"}
    assert runtime.effects.of_stack(stack.digest) is None
    for _ in runtime.effects.measure_stack(stack):
        pass
    assert (runtime.effects.of_stack(stack.digest) or 0.0) > 0.0


def test_fused_adapters_are_kept_from_the_setting_on(
    runtime: Runtime, both: AdapterStack, tmp_path: Path
) -> None:
    runtime.set_stack(both)
    runtime.configure(EngineSettings(cache_folder=str(tmp_path)))
    runtime.set_stack(both.with_scale("first", 0.2))
    assert len(list(tmp_path.glob("fused/*.gguf"))) == 1
    runtime.configure(EngineSettings(cache_folder=str(tmp_path), fused_disk_bytes=0))
    assert runtime.set_stack(both.with_scale("first", 0.3)) == "fused"
    assert len(list(tmp_path.glob("fused/*.gguf"))) == 1


def test_without_memory_to_fuse_it_a_stack_is_served_one_by_one(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_fuser: Fuser, _stack: AdapterStack) -> None:
        raise MemoryError

    monkeypatch.setattr(Fuser, "build_now", exhausted)
    assert runtime.set_stack(both) == "layered"
