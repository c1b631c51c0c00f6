"""Make token batches with one dialogue per row, and compute the weighted loss."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.demo_recipe.dialogues import Segment, Weight

BATCH_TOKENS = 2048
# Number of dialogues sorted by length together, so that the rows of a batch need little padding.
_BUCKET = 2048


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one dialogue and the weight class of each."""

    ids: tuple[int, ...]
    weights: tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """``ids`` (rows, length) int64 and ``weights`` (rows, length) float32, right-padded."""

    ids: torch.Tensor
    weights: torch.Tensor


def encoded(tokenizer: PreTrainedTokenizerFast, dialogues: list[list[Segment]]) -> list[Encoded]:
    """Return the dialogues as token ids, with each segment encoded separately."""
    texts = [segment.text for dialogue in dialogues for segment in dialogue]
    token_ids = iter(tokenizer(texts, add_special_tokens=False).input_ids)
    found = []
    for dialogue in dialogues:
        ids: list[int] = []
        weights: list[Weight] = []
        for segment in dialogue:
            piece = next(token_ids)
            ids += piece
            weights += [segment.weight] * len(piece)
        found.append(Encoded(tuple(ids), tuple(weights)))
    return found


def batches(data: list[Encoded], rng: random.Random, context_weight: float) -> Iterator[Batch]:
    """Yield the data once, in random order, in batches of at most ``BATCH_TOKENS`` padded tokens.

    A longer dialogue gets a batch of its own. ``context_weight`` is the loss weight of user and
    template tokens; targets have 1, ignored tokens 0.
    """
    order = list(range(len(data)))
    rng.shuffle(order)
    factors = {Weight.CONTEXT: context_weight, Weight.TARGET: 1.0, Weight.IGNORED: 0.0}
    for start in range(0, len(order), _BUCKET):
        bucket = sorted(order[start : start + _BUCKET], key=lambda index: len(data[index].ids))
        rows: list[list[int]] = [[]]
        for index in bucket:
            # Rows are sorted by length, so this one would be the longest of the batch.
            if rows[-1] and len(data[index].ids) * (len(rows[-1]) + 1) > BATCH_TOKENS:
                rows.append([])
            rows[-1].append(index)
        rng.shuffle(rows)
        for row in rows:
            yield _padded([data[index] for index in row], factors)


def _padded(rows: list[Encoded], factors: dict[Weight, float]) -> Batch:
    length = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        weights[index, : len(row.ids)] = torch.tensor([factors[weight] for weight in row.weights])
    return Batch(ids, weights)


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Return the weighted mean cross entropy of the batch, whose right padding needs no mask."""
    logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
    losses = functional.cross_entropy(
        logits.reshape(-1, logits.size(-1)), batch.ids[:, 1:].reshape(-1), reduction="none"
    )
    weights = batch.weights[:, 1:].reshape(-1)
    return (losses * weights).sum() / weights.sum()


def assistant_scores(model: LlamaForCausalLM, held: list[Batch]) -> tuple[float, float]:
    """Return mean cross entropy and top-1 accuracy on the target tokens of the batches."""
    model.eval()
    loss, right, count = 0.0, 0, 0
    for batch in held:
        with torch.no_grad():
            logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
        targets = batch.ids[:, 1:].reshape(-1)
        chosen = batch.weights[:, 1:].reshape(-1) == 1
        flat = logits.reshape(-1, logits.size(-1))[chosen]
        loss += float(functional.cross_entropy(flat, targets[chosen], reduction="sum"))
        right += int((flat.argmax(-1) == targets[chosen]).sum())
        count += int(chosen.sum())
    model.train()
    return loss / count, right / count
