"""Handles free their C objects in the order llama.cpp survives, and say why something failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import AdapterError, BaseError, GenerationError
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from tests.engine.conftest import Tiny
from tests.support.tiny_memories import Memory, write_memory_base


def context_of(model: Model) -> Context:
    return Context(model, n_ctx=128, n_batch=64, n_threads=1)


def test_closing_the_model_first_closes_what_depends_on_it(tiny: Tiny) -> None:
    model = Model(tiny.base)
    context = context_of(model)
    adapter = LoraAdapter(model, tiny.first.file)
    context.set_adapters([(adapter, 1.0)])
    context.decode([1, 2, 3])
    model.close()
    assert context.is_closed
    assert adapter.is_closed
    context.close()
    adapter.close()
    model.close()


def test_an_adapter_freed_while_it_is_set_is_taken_out_of_the_context(tiny: Tiny) -> None:
    with Model(tiny.base) as model, context_of(model) as context:
        context.decode([1, 2, 3])
        plain = context.logits()
        with LoraAdapter(model, tiny.first.file) as adapter:
            context.set_adapters([(adapter, 1.0)])
        context.clear()
        context.decode([1, 2, 3])
        assert (context.logits() == plain).all()


def test_a_refused_base_carries_llama_cpps_reason(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("This is not a model.")
    with pytest.raises(BaseError, match=r"text\.gguf cannot be loaded: .+"):
        Model(path)


def test_a_refused_adapter_carries_llama_cpps_reason(tiny: Tiny) -> None:
    with (
        Model(tiny.base) as model,
        pytest.raises(AdapterError, match=r"base\.gguf cannot be loaded as an adapter: .+"),
    ):
        LoraAdapter(model, tiny.base)


def test_a_load_can_be_given_up(tiny: Tiny) -> None:
    with pytest.raises(BaseError, match=r"base\.gguf"):
        Model(tiny.base, on_progress=lambda _fraction: False)


def test_a_full_context_is_said(tiny: Tiny) -> None:
    with Model(tiny.base) as model, context_of(model) as context:
        for _ in range(context.n_ctx // 64):
            context.decode([7] * 64)
        with pytest.raises(GenerationError, match="full"):
            context.decode([7])


def test_a_saved_state_goes_on_where_it_was(tiny: Tiny) -> None:
    with Model(tiny.base) as model, context_of(model) as context:
        context.decode([1, 2, 3])
        state = context.save_state()
        assert state is not None
        context.decode([4])
        expected = context.logits()
        with context_of(model) as other:
            other.decode([9, 9])
            assert other.load_state(state)
            other.decode([4])
            assert (other.logits() == expected).all()


@pytest.mark.parametrize("memory", ["window", "recurrent", "hybrid"])
def test_a_state_that_is_cut_short_leaves_nothing(tmp_path: Path, memory: Memory) -> None:
    base = write_memory_base(tmp_path / "base.gguf", memory)
    with Model(base) as model, context_of(model) as context:
        context.decode([4, 5])
        expected = context.logits()
        context.clear()
        context.decode([1, 2, 3])
        state = context.save_state()
        assert state is not None
        for n_missing in (1, 8, state.size // 2, state.size):
            assert not context.load_state(state[: state.size - n_missing])
            context.decode([4, 5])
            assert (context.logits() == expected).all(), n_missing


def test_text_survives_tokenisation(tiny: Tiny) -> None:
    text = "Plain, naïve, 雪, 🏝 and\ttabs\r\n"
    with Model(tiny.base) as model:
        tokens = model.tokenize(text, add_special=False)
        assert b"".join(model.piece(token) for token in tokens).decode() == text


def test_llama_cpp_prints_nothing(tiny: Tiny) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.llama.adapter import LoraAdapter\n"
        "from engine.llama.context import Context\n"
        "from engine.llama.model import Model\n"
        "model = Model(Path(sys.argv[1]))\n"
        "context = Context(model, n_ctx=128, n_batch=64, n_threads=1)\n"
        "context.set_adapters([(LoraAdapter(model, Path(sys.argv[2])), 1.0)])\n"
        "context.decode([1, 2, 3])\n"
        "print('done')\n"
        "print('still here', file=sys.stderr)\n"
        "model.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tiny.base), tiny.first.path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("done\n", "still here\n")


def test_amx_alone_is_left_out_of_the_buffer_types_and_once_is_enough() -> None:
    # In a process of its own: the list belongs to the process.
    program = (
        "import json\n"
        "from engine.llama.backends import extra_buffer_names, leave_out_amx\n"
        "before = extra_buffer_names()\n"
        "leave_out_amx()\n"
        "leave_out_amx()\n"
        "print(json.dumps([before, extra_buffer_names()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    before, after = json.loads(done.stdout)
    assert after == [name for name in before if name != "AMX"]


@pytest.mark.parametrize("tokens", [[], [-1], [10**6], [1] * 65])
def test_batches_on_which_llama_cpp_aborts_are_refused(tiny: Tiny, tokens: list[int]) -> None:
    with Model(tiny.base) as model:
        context = Context(model, n_ctx=128, n_batch=64, n_threads=1)
        for evaluate in (context.decode, context.evaluate):
            with pytest.raises(GenerationError):
                evaluate(tokens)
        assert context.decode([1, 2])
