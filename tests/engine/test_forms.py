"""Fused and layered are one stack: either serves, and changing over costs no cache."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine import forms
from engine.errors import AdapterError
from engine.runtime import Runtime
from engine.settings import EngineSettings
from engine.stack import AdapterStack, stack_of
from tests.engine.conftest import Tiny
from tests.engine.test_stack_logits import PROMPT, Logits, logits


@pytest.fixture
def both(tiny: Tiny) -> AdapterStack:
    return stack_of([(tiny.first, 0.7), (tiny.second, -0.4)])


@pytest.fixture
def in_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough to be fused at once."""
    monkeypatch.setattr(forms, "MAX_AT_ONCE_BYTES", 0)


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
        patch.setattr(runtime.forms._fuser, "ready", lambda _digest: None)
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
    monkeypatch.setattr(runtime.forms._fuser, "build_now", pytest.fail)
    assert runtime.set_stack(both.bypassed()) == "none"
    assert runtime.set_stack(both) == "fused"


def test_a_fused_adapter_that_decodes_slower_is_not_used(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slower(*_arguments: object) -> Iterator[None]:
        yield
        return 0.5

    monkeypatch.setattr(forms, "speed_ratio", slower)
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


def test_an_adapter_whose_file_has_gone_leaves_the_stack_before_in_force(
    runtime: Runtime, both: AdapterStack, tiny: Tiny, tmp_path: Path
) -> None:
    runtime.set_stack(both)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(tiny.first.file.read_bytes()[:-4] + b"abcd")
    wrong = tiny.first.__class__(
        **{name: getattr(tiny.first, name) for name in tiny.first.__struct_fields__}
        | {"path": str(copy), "name": "wrong", "sha256": "1" * 64}
    )
    with pytest.raises(AdapterError, match="has changed"):
        runtime.set_stack(both.with_added(wrong))
    assert runtime.stack == both
    assert runtime.forms.form == "fused"


def test_a_stack_that_cannot_be_fused_is_served_one_by_one(
    runtime: Runtime, both: AdapterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_stack: AdapterStack) -> None:
        raise AdapterError("The disk is full.")

    monkeypatch.setattr(runtime.forms._fuser, "build_now", full)
    assert runtime.set_stack(both) == "layered"
