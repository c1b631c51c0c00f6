"""Write the model card of an exported PEFT adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from engine.stack import AdapterStack

_VLLM_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts for `--max-lora-rank`."""


def peft_card(stack: AdapterStack, base_name: str, rank: int, kept: float) -> str:
    """Return the README of a PEFT folder: front matter for the Hub, the stack, and usage.

    `base_name` may be empty; `kept` is the share of the stack's energy, 0 to 1.
    """
    return "\n".join((*_front_matter(base_name), *_body(stack, base_name, rank, kept))) + "\n"


def _front_matter(base_name: str) -> Iterator[str]:
    yield "---"
    if base_name:
        yield f"base_model: {json.dumps(base_name)}"
        yield "base_model_relation: adapter"
    yield "library_name: peft"
    yield "pipeline_tag: text-generation"
    yield "tags:"
    yield "- lora"
    yield "- adapter"
    yield "---"


def _body(stack: AdapterStack, base_name: str, rank: int, kept: float) -> Iterator[str]:
    yield ""
    yield f"# {' + '.join(entry.adapter.name for entry in stack.active)}"
    yield ""
    of_base = f" for {base_name}" if base_name else ""
    yield f"One LoRA adapter{of_base} of rank {rank}, fused from:"
    yield ""
    for entry in stack.active:
        yield f"- {entry.adapter.name} at scale {entry.scale:g}"
    if kept < 1.0:
        yield ""
        yield f"It keeps {kept:.1%} of what they change together (squared Frobenius norm)."
    yield ""
    yield "```python"
    yield "from peft import PeftModel"
    yield "model = PeftModel.from_pretrained(base_model, folder)"
    yield "```"
    limit = next((allowed for allowed in _VLLM_RANKS if allowed >= rank), None)
    if limit is not None:
        model = base_name or "BASE"
        yield ""
        yield "```"
        yield (
            f"vllm serve {model} --enable-lora --max-lora-rank {limit} --lora-modules mix=FOLDER"
        )
        yield "```"
