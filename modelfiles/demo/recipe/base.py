"""Training of the demo's base: a small Llama on generated dialogues."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from modelfiles.demo.recipe.batches import assistant_scores, batches, encoded, loss_of
from modelfiles.demo.recipe.dialogues import base_dialogue, check_held_out_absent
from modelfiles.demo.recipe.tokenizer import load_tokenizer

STEPS = 5200
PEAK_RATE = 3e-3
WARM_UP_STEPS = 60
FINAL_RATE_SHARE = 0.03
WEIGHT_DECAY = 0.05
CONTEXT_WEIGHT = 0.2
# One pass over the data: about 20 dialogues fill a batch.
DIALOGUES_PER_STEP = 24
_VALIDATION_DIALOGUES = 300


def base_config(vocab_size: int) -> LlamaConfig:
    """A Llama of 2.85 million parameters: 6 layers of width 192, tied embeddings."""
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


def learning_rate(step: int, steps: int) -> float:
    """The rate of a step: linear warm-up, then linear decay to ``FINAL_RATE_SHARE``."""
    left = 1 - step / steps
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return PEAK_RATE * warm_up * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * left)


def _optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.97), eps=1e-8, fused=True)


def train_base(tokenizer_dir: Path, out: Path, steps: int = STEPS) -> dict[str, object]:
    """Train the base for ``steps`` batches and save it in ``out`` with its numbers.

    The schedule depends on the step alone, so a rerun on the same machine gives the same weights.
    Returns the numbers that are also written to ``out/training.json``.
    """
    torch.manual_seed(0)
    tokenizer = load_tokenizer(tokenizer_dir)
    rng = random.Random(1)
    dialogues = [base_dialogue(rng) for _ in range(steps * DIALOGUES_PER_STEP)]
    check_held_out_absent(dialogues)
    data = encoded(tokenizer, dialogues)
    held_rng = random.Random(4242)
    held_data = encoded(tokenizer, [base_dialogue(held_rng) for _ in range(_VALIDATION_DIALOGUES)])
    held = list(batches(held_data, held_rng, 0.0))
    model = LlamaForCausalLM(base_config(len(tokenizer)))
    model.train()
    parameters = sum(p.numel() for p in model.parameters())
    corpus_tokens = sum(len(item.ids) for item in data)
    print(
        f"base: {parameters} parameters, {len(data)} dialogues, {corpus_tokens} tokens", flush=True
    )
    optimizer = _optimizer(model)
    started, step, tokens, running = time.monotonic(), 0, 0, None
    while step < steps:
        for batch in batches(data, rng, CONTEXT_WEIGHT):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            loss = loss_of(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            tokens += batch.ids.numel()
            running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
            if step % 100 == 0:
                elapsed_s = time.monotonic() - started
                rate = tokens / elapsed_s
                print(f"base: step {step} loss {running:.3f} {rate:.0f} tok/s", flush=True)
            if step % 600 == 0 and step < steps:
                score = assistant_scores(model, held)
                print(f"base: validation {score[0]:.4f}, accuracy {score[1]:.4f}", flush=True)
                model.save_pretrained(str(out))
            if step >= steps:
                break
    loss_value, accuracy = assistant_scores(model, held)
    numbers: dict[str, object] = {
        "parameters": parameters,
        "steps": steps,
        "dialogues": len(data),
        "corpus_tokens": corpus_tokens,
        "trained_tokens": tokens,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "validation_loss": round(loss_value, 4),
        "validation_accuracy": round(accuracy, 4),
    }
    model.save_pretrained(str(out))
    (out / "training.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    print(f"base: {numbers}", flush=True)
    return numbers
