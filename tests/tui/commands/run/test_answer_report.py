from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from engine.protocol.events import Finished
from engine.protocol.values import GenerationStats
from engine.stack import Adapter, AdapterStack, StackEntry
from modelfiles.model import Model
from tests.support.scripted_engine import BASE
from tui.commands.run.answer_report import answer_document, statistics_lines
from tui.commands.run.one_answer import Answer


def adapter(name: str) -> Adapter:
    return Adapter(name, f"/{name}.gguf", "00" * 32, "llama", 8.0, 4, 4, 2, 100, 100)


ANSWER = Answer(
    replace(BASE, load_s=0.5),
    Finished(
        3,
        "length",
        "Arr\x1b[31m!",
        GenerationStats(10, 4, 3, 0.1, 0.25, 64, n_dropped_messages=2),
        notices=("Two messages were left out.",),
    ),
    AdapterStack(
        (
            StackEntry(adapter("pirate"), 0.7),
            StackEntry(adapter("formal"), 0.0),
            StackEntry(adapter("shout"), -1.0, is_enabled=False),
        )
    ),
)
MODEL = Model("mine:latest", Path("/base.gguf"))


def test_the_document_has_the_answer_the_whole_stack_and_the_statistics() -> None:
    document = answer_document(MODEL, ANSWER, elapsed_s=1.5)
    assert document["model"] == "mine:latest"
    assert document["response"] == "Arr[31m!"
    assert document["finish_reason"] == "length"
    assert document["notices"] == ["Two messages were left out."]
    assert document["stack"] == [
        {"name": "pirate", "scale": 0.7, "enabled": True, "path": "/pirate.gguf"},
        {"name": "formal", "scale": 0.0, "enabled": True, "path": "/formal.gguf"},
        {"name": "shout", "scale": -1.0, "enabled": False, "path": "/shout.gguf"},
    ]
    stats = document["stats"]
    assert (stats["prompt_tokens"], stats["reused_tokens"], stats["generated_tokens"]) == (10, 4, 3)
    assert (stats["context_tokens"], stats["context_length"]) == (13, 64)
    assert (stats["load_s"], stats["prefill_s"], stats["decode_s"]) == (0.5, 0.1, 0.25)
    assert (stats["decode_tokens_per_s"], stats["total_s"]) == (12.0, 1.5)
    assert stats["dropped_messages"] == 2


def test_the_statistics_read_like_ollamas_and_name_the_stack() -> None:
    assert statistics_lines(ANSWER, elapsed_s=1.5) == [
        "stack:                pirate 0.70",
        "total duration:       1.50s",
        "load duration:        500.00ms",
        "prompt eval count:    6 token(s)",
        "prompt eval duration: 100.00ms",
        "prompt eval rate:     60.00 tokens/s",
        "eval count:           3 token(s)",
        "eval duration:        250.00ms",
        "eval rate:            12.00 tokens/s",
    ]
