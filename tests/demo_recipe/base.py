"""Train the demo's base, a small Llama, on generated dialogues."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.demo_recipe.batches import Batch, Encoded, assistant_scores, batches, encoded, loss_of
from tests.demo_recipe.dialogues import (
    Segment,
    base_dialogue,
    check_held_out_absent,
    long_dialogue,
)
from tests.demo_recipe.tokenizer import load_tokenizer

STEPS = 5200
PEAK_RATE = 3e-3
LONG_STEPS = 700
LONG_PEAK_RATE = 1e-3
WARM_UP_STEPS = 60
FINAL_RATE_SHARE = 0.03
WEIGHT_DECAY = 0.05
CONTEXT_WEIGHT = 0.2
# Enough for a single pass over the data: about 20 dialogues fill a batch.
DIALOGUES_PER_STEP = 24
_LONG_SHARE = 0.3
_LONG_DIALOGUES_PER_STEP = 9
_VALIDATION_DIALOGUES = 300


def base_config(vocab_size: int) -> LlamaConfig:
    """Return the config of a Llama of 2.85 million parameters: 6 layers of width 192, tied."""
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=512,
        max_position_embeddings=1024,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        attention_bias=False,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.03,
        attn_implementation="sdpa",
    )


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: linear warm-up times linear decay.

    The decay ends at ``FINAL_RATE_SHARE`` of ``peak``.
    """
    left = 1 - step / steps
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return peak * warm_up * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * left)


def _optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.97), eps=1e-8, fused=True)


def _validation(tokenizer: PreTrainedTokenizerFast) -> list[Batch]:
    rng = random.Random(4242)
    dialogues = [base_dialogue(rng) for _ in range(_VALIDATION_DIALOGUES)]
    return list(batches(encoded(tokenizer, dialogues), rng, 0.0))


def _fit(
    model: LlamaForCausalLM, data: list[Encoded], rng: random.Random, steps: int, peak: float
) -> int:
    """Train for ``steps`` batches; return the number of tokens seen, padding included."""
    optimizer = _optimizer(model)
    started, step, tokens, running = time.monotonic(), 0, 0, None
    model.train()
    while step < steps:
        for batch in batches(data, rng, CONTEXT_WEIGHT):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak)
            loss = loss_of(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            tokens += batch.ids.numel()
            running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
            if step % 100 == 0:
                rate = tokens / (time.monotonic() - started)
                print(f"base: step {step} loss {running:.3f} {rate:.0f} tok/s", flush=True)
            if step >= steps:
                break
    return tokens


def _save(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    numbers: dict[str, object],
) -> dict[str, object]:
    loss, accuracy = assistant_scores(model, _validation(tokenizer))
    numbers |= {"validation_loss": round(loss, 4), "validation_accuracy": round(accuracy, 4)}
    model.save_pretrained(str(out))
    (out / "training.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    print(f"base: {numbers}", flush=True)
    return numbers


def train_base(tokenizer_dir: Path, out: Path, steps: int = STEPS) -> dict[str, object]:
    """Train the base for ``steps`` batches and save it in ``out`` with its numbers.

    The schedule depends only on the step, so a rerun on the same machine gives the same weights.
    Returns the numbers that are also written to ``out/training.json``.
    """
    torch.manual_seed(0)
    tokenizer = load_tokenizer(tokenizer_dir)
    rng = random.Random(1)
    dialogues = [base_dialogue(rng) for _ in range(steps * DIALOGUES_PER_STEP)]
    check_held_out_absent(dialogues)
    data = encoded(tokenizer, dialogues)
    model = LlamaForCausalLM(base_config(len(tokenizer)))
    started = time.monotonic()
    tokens = _fit(model, data, rng, steps, PEAK_RATE)
    numbers: dict[str, object] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "dialogues": len(data),
        "trained_tokens": tokens,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    return _save(model, tokenizer, out, numbers)


def lengthen_base(
    tokenizer_dir: Path, short_dir: Path, out: Path, steps: int = LONG_STEPS
) -> dict[str, object]:
    """Continue training the base in ``short_dir``, with long dialogues among the short ones.

    Without this stage, answers fall apart after about 350 tokens of chat, since the dialogues of
    the first training are rarely longer. Saves the base in ``out``, and returns the numbers that
    are also written to ``out/training.json``.
    """
    torch.manual_seed(0)
    tokenizer = load_tokenizer(tokenizer_dir)
    model = LlamaForCausalLM.from_pretrained(str(short_dir), dtype=torch.float32)
    rng = random.Random(2)
    dialogues: list[list[Segment]] = []
    for _ in range(steps * _LONG_DIALOGUES_PER_STEP):
        is_long = rng.random() < _LONG_SHARE
        dialogues.append(long_dialogue(rng) if is_long else base_dialogue(rng))
    check_held_out_absent(dialogues)
    longest = model.config.max_position_embeddings
    data = [item for item in encoded(tokenizer, dialogues) if len(item.ids) <= longest]
    started = time.monotonic()
    tokens = _fit(model, data, rng, steps, LONG_PEAK_RATE)
    before = json.loads((short_dir / "training.json").read_text(encoding="utf-8"))
    numbers: dict[str, object] = {
        "parameters": before["parameters"],
        "steps": before["steps"] + steps,
        "dialogues": before["dialogues"] + len(data),
        "trained_tokens": before["trained_tokens"] + tokens,
        "minutes": round(before["minutes"] + (time.monotonic() - started) / 60, 1),
    }
    return _save(model, tokenizer, out, numbers)
