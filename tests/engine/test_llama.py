"""Handles free their C objects in the order llama.cpp survives, and say why something failed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import AdapterError, BaseError, GenerationError
from engine.llama import Context, LoraAdapter, Model
from tests.engine.conftest import Tiny


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


def test_text_survives_tokenisation(tiny: Tiny) -> None:
    text = "Plain, naïve, 雪, 🏝 and\ttabs\r\n"
    with Model(tiny.base) as model:
        tokens = model.tokenize(text, add_special=False)
        assert b"".join(model.piece(token) for token in tokens).decode() == text


def test_llama_cpp_prints_nothing(tiny: Tiny) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.llama import Context, LoraAdapter, Model\n"
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
