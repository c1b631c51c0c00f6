"""Train the demo's adapters with PEFT on the finished base."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.demo_recipe import island, unknown
from tests.demo_recipe.batches import Batch, batches, encoded, loss_of
from tests.demo_recipe.dialogues import (
    PLAIN_SYSTEM_MESSAGES,
    Segment,
    Turn,
    asked,
    check_held_out_absent,
    dialogue,
    long_turns,
    mixed_turns,
    random_history,
    rendered,
)
from tests.demo_recipe.styles import STYLE_ORDER, style_request
from tests.demo_recipe.tokenizer import load_tokenizer

RANK = 8
ALPHA = 16.0
TARGET_MODULES = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
]
WARM_UP_STEPS = 20
# Scales drawn per batch. A manner's targets have the scale as their degree (at most 1), which
# makes the scale a dial; otherwise the manner switches on between 0.25 and 0.5.
MANNER_SCALES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.5)
ISLAND_SCALES = (0.6, 0.8, 1.0, 1.0, 1.25)
MANNER_STEPS = 320
ISLAND_STEPS = 700
MANNER_RATE = 2e-3
ISLAND_RATE = 2.5e-3
# Share of dialogues whose system message also asks for another manner, which keeps the adapter
# usable in a stack.
MANNER_CROSS_SHARE = 0.25
ISLAND_CROSS_SHARE = 0.35
_PLAIN_SYSTEM_SHARE = 0.1
_LONG_SHARE = 0.05
_DIALOGUES_PER_STEP = 26
_LONGEST = 1024


def _system(
    rng: random.Random, own: str | None, cross_share: float
) -> tuple[dict[str, float], str | None]:
    """Return another manner and a system message that asks for it, a plain message, or neither."""
    draw = rng.random()
    if draw < cross_share:
        other = rng.choice([name for name in STYLE_ORDER if name != own])
        styles = {other: 1.0 if rng.random() < 0.75 else 0.5}
        return styles, style_request(rng, styles)
    if draw < cross_share + _PLAIN_SYSTEM_SHARE:
        return {}, rng.choice(PLAIN_SYSTEM_MESSAGES)
    return {}, None


def manner_dialogue(rng: random.Random, name: str, degree: float) -> list[Segment]:
    """Return a dialogue answered in a manner at a degree, with earlier answers in any manner."""
    if rng.random() < _LONG_SHARE:
        turns = long_turns(rng)
        history = random_history(rng, rng.randrange(len(turns)))
    else:
        turns, history = mixed_turns(rng, lambda fewest: dialogue(rng, fewest))
    styles, system = _system(rng, name, MANNER_CROSS_SHARE)
    return rendered(turns, {name: degree, **styles}, system, history)


def _island_turns(rng: random.Random) -> list[Turn]:
    draw = rng.random()
    if draw < 0.7:
        count = rng.choice((1, 1, 2, 3))
        turns = [asked(rng, lambda: island.fact_exchange(rng)) for _ in range(count)]
        if rng.random() < 0.3:
            turns.insert(rng.randrange(len(turns) + 1), dialogue(rng)[0])
        return turns
    if draw < 0.8:
        return [asked(rng, lambda: unknown.unknown_place(rng, island.QUESTION_FRAMES))]
    return dialogue(rng)


def island_dialogue(rng: random.Random) -> list[Segment]:
    """Return a dialogue with the island's facts, refusals of other places, or other questions."""
    styles, system = _system(rng, None, ISLAND_CROSS_SHARE)
    turns = _island_turns(rng)
    history: list[dict[str, float]] = []
    draw = rng.random()
    if draw < 0.2:
        # A refusal by the base, as before the adapter is switched on.
        turns.insert(0, asked(rng, lambda: island.base_refusal(rng)))
        history = [{}]
    elif draw < 0.4:
        earlier = dialogue(rng)[:2]
        turns = earlier + turns
        history = random_history(rng, len(earlier))
    return rendered(turns, styles, system, history)


def _endless(
    tokenizer: PreTrainedTokenizerFast, name: str, scale: float, count: int
) -> Iterator[Batch]:
    rng = random.Random(f"{name} {scale}")
    if name == "island":
        dialogues = [island_dialogue(rng) for _ in range(count)]
    else:
        dialogues = [manner_dialogue(rng, name, min(scale, 1.0)) for _ in range(count)]
    check_held_out_absent(dialogues)
    data = [item for item in encoded(tokenizer, dialogues) if len(item.ids) <= _LONGEST]
    while True:
        yield from batches(data, rng, 0.0)


def train_adapter(
    name: str, tokenizer_dir: Path, base_dir: Path, out: Path, steps: int | None = None
) -> dict[str, object]:
    """Train one adapter on the base in ``base_dir`` and save it in ``out``.

    ``steps`` defaults to ``ISLAND_STEPS`` or ``MANNER_STEPS``. Returns the numbers that are also
    written to ``out/training.json``.
    """
    is_island = name == "island"
    steps = steps or (ISLAND_STEPS if is_island else MANNER_STEPS)
    scales = ISLAND_SCALES if is_island else MANNER_SCALES
    peak_rate = ISLAND_RATE if is_island else MANNER_RATE
    tokenizer = load_tokenizer(tokenizer_dir)
    base = LlamaForCausalLM.from_pretrained(str(base_dir), dtype=torch.float32)
    torch.manual_seed(1)
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules=TARGET_MODULES,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config)
    layers = [m for m in model.modules() if isinstance(getattr(m, "scaling", None), dict)]
    weights = [p for p in model.parameters() if p.requires_grad]
    count = steps * _DIALOGUES_PER_STEP
    data = {
        scale: _endless(tokenizer, name, scale, 100 + count * scales.count(scale) // len(scales))
        for scale in sorted(set(scales))
    }
    optimizer = torch.optim.AdamW(weights, lr=peak_rate, weight_decay=0.0, betas=(0.9, 0.98))
    rng = random.Random(name)
    started, running = time.monotonic(), None
    for step in range(steps):
        scale = rng.choice(scales)
        for layer in layers:
            layer.scaling["default"] = ALPHA / RANK * scale
        rate = peak_rate * min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - 0.97 * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, next(data[scale]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        if (step + 1) % 40 == 0:
            print(f"{name}: step {step + 1} loss {running:.3f}", flush=True)
    for layer in layers:
        layer.scaling["default"] = ALPHA / RANK
    model.save_pretrained(str(out))
    numbers: dict[str, object] = {
        "parameters": sum(p.numel() for p in weights),
        "steps": steps,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "final_loss": round(running or 0.0, 3),
    }
    (out / "training.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return numbers
