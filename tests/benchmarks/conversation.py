"""Make prompts of an exact number of tokens, and time their answers from the caller's side."""

from __future__ import annotations

import random
import string
import time
from dataclasses import dataclass

from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, GenerationEvent, PromptProgress, Tokens
from engine.protocol.values import ChatMessage, GenerationStats
from engine.runtime.answer.generation import generate
from engine.runtime.runtime import Runtime
from engine.worker.client import EngineClient
from modelfiles.parameters import Parameters

# Neither contains a pair that the vocabulary merges, so each character is a token.
_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class Cost:
    """Times of one answer, seen by the caller, in seconds."""

    first_token_s: float
    """From the request to the first piece of the answer."""
    prefill_s: float
    """From the request to the end of the prompt's evaluation."""
    decode_s: float
    """From the request to the end of the answer, minus the engine's own prompt evaluation time.
    All other time counts as decoding; the event that ends the prompt may arrive late, which would
    make decoding look faster than it is."""
    stats: GenerationStats

    @property
    def prefill_tokens_per_s(self) -> float:
        """Evaluated prompt tokens per second."""
        return (self.stats.n_prompt - self.stats.n_reused) / self.prefill_s

    @property
    def decode_tokens_per_s(self) -> float:
        """Generated tokens per second."""
        return self.stats.n_decoded / self.decode_s


class _Clock:
    """Records the arrival times of an answer's events."""

    def __init__(self) -> None:
        self._asked_s = time.perf_counter()
        self._evaluated_s = self._first_s = 0.0
        self.cost: Cost | None = None

    def see(self, event: GenerationEvent) -> None:
        now_s = time.perf_counter()
        match event:
            case PromptProgress():
                self._evaluated_s = now_s
            case Tokens():
                self._first_s = self._first_s or now_s
            case Finished():
                if event.reason != "length":
                    raise RuntimeError(f"An answer ended by {event.reason}: {event.error}")
                self.cost = Cost(
                    first_token_s=self._first_s - self._asked_s,
                    prefill_s=self._evaluated_s - self._asked_s,
                    decode_s=now_s - self._asked_s - event.stats.prefill_s,
                    stats=event.stats,
                )


class Prompts:
    """Conversations that differ from their start, so that the KV cache of one serves no other."""

    def __init__(self) -> None:
        self._n = 0

    def next(self, n_tokens: int) -> tuple[ChatMessage, ...]:
        """Return a new conversation of one message that has `n_tokens` (at least 8)."""
        self._n += 1
        start = f"{self._n:06d}"
        rest = random.Random(self._n).choices(_LETTERS, k=n_tokens - len(start) - 1)
        return (ChatMessage("user", start + "".join(rest)),)  # the template adds a newline


def greedy(messages: tuple[ChatMessage, ...], n_predict: int) -> ChatRequest:
    """Return the request to answer a conversation by exactly `n_predict` tokens, greedily."""
    return ChatRequest(messages, Parameters(temperature=0.0, num_predict=n_predict))


async def ask_client(
    client: EngineClient, messages: tuple[ChatMessage, ...], n_predict: int
) -> Cost:
    """Return the cost of an answer through the worker, seen from this process."""
    clock = _Clock()
    async for event in client.generate(greedy(messages, n_predict)):
        clock.see(event)
    assert clock.cost is not None  # the last event is Finished
    return clock.cost


def ask_runtime(runtime: Runtime, messages: tuple[ChatMessage, ...], n_predict: int) -> Cost:
    """Return the cost of an answer computed in this process."""
    clock = _Clock()
    for event in generate(runtime, greedy(messages, n_predict)):
        clock.see(event)
    assert clock.cost is not None  # the last event is Finished
    return clock.cost
