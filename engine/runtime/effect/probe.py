"""What a stack does to the base, as a number: the KL divergence of what comes next, in nats.

The probe is a question with the beginning of the base's own answer. After each of its tokens the
model gives a distribution of the next one; the effect is the mean over the tokens of
KL(stack || base). The question counts too: an adapter with new knowledge shows there, while the
base's answer is where a manner shows. Of the demo's adapters at scale 1 one of knowledge has 0.28
nats, those of a manner 0.7 to 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.disk.handle import Handle
from engine.errors import EngineError, GenerationError, PromptError
from engine.llama import Context, LoraAdapter, Model
from engine.protocol.chat_request import ChatRequest
from engine.protocol.values import ChatMessage
from engine.runtime.prompt import build_prompt
from modelfiles.parameters import Parameters

Logits = npt.NDArray[np.float32]
Steps = Generator[None, None, float]
"""Pauses after every few tokens; its return value, which `yield from` gives, is the effect."""

QUESTION = "What is a good way to spend a rainy day?"
N_CTX = 256
"""Context length of the probe, in tokens."""
N_ANSWER = 8
"""Tokens of the base's own answer."""
CHUNK = 8
"""Tokens evaluated between two pauses. A base of 1B took 0.36 s of one core for 8, 0.64 s for 16: a
tenth less for the whole, but nearly twice as long until an answer can begin."""
_OUT_OF_RANGE = (
    "The effect cannot be measured: the stack drives the model's numbers out of range; lower its "
    "scales."
)


@dataclass(frozen=True, slots=True)
class _Base:
    """The probe with what the bare base says to it."""

    chunks: tuple[Sequence[int], ...]
    logits: tuple[Logits, ...]
    """For each chunk, shape (n_tokens, n_vocab)."""

    @property
    def n_tokens(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)


class EffectProbe(Handle):
    """Measures stacks on one base, in a context of its own that is made on first use.

    The conversation's KV cache is never touched. Of the base it keeps the logits: 4 bytes for each
    token of the probe (30 for the demo) times each token of the vocabulary.

    Args:
        model: The base.
        n_threads: CPU threads.
    """

    def __init__(self, model: Model, *, n_threads: int) -> None:
        self._model = model
        self._n_threads = n_threads
        n_ctx_train = model.n_ctx_train
        self._n_ctx = min(N_CTX, n_ctx_train) if n_ctx_train > 0 else N_CTX
        self._context: Context | None = None
        self._tokens: list[int] | None = None
        self._base: _Base | None = None
        self._n_begun = 0
        self._measured: tuple[LoraAdapter, ...] = ()

    def _free(self) -> None:
        if self._context is not None:
            self._context.close()

    def measure(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> Steps:
        """Measure the effect of these adapters with these scales; may be given up at any pause.

        The first measurement also evaluates the base; what it has finished of that is kept when it
        is given up. The effect is the mean KL divergence in nats, at least 0, and exactly 0 where
        no logit differs by a bit. One measurement at a time: a new one ends the one before.

        Raises:
            EngineError: No context can be made, or this measurement went on after another was begun
                or after the probe, the model or one of the adapters was closed.
            GenerationError: A failure inside llama.cpp, or logits that are not finite.
        """
        self._n_begun += 1
        self._measured = tuple(adapter for adapter, _scale in adapters)
        if not adapters:
            return 0.0
        base = self._base
        if base is None:
            base = self._base = yield from self._evaluate_base()
        context = self._fresh(adapters)
        total = 0.0
        for chunk, logits in zip(base.chunks, base.logits, strict=True):
            total += kl_divergence(context.evaluate(chunk), logits)
            yield from self._pause()
        return max(0.0, total / base.n_tokens)

    def _pause(self) -> Generator[None]:
        n_begun = self._n_begun
        yield
        used = (self, self._model, *self._measured)
        if n_begun != self._n_begun or any(handle.is_closed for handle in used):
            raise EngineError("This measurement of an effect was ended: begin it again.")

    @property
    def scratch(self) -> Context:
        """The context, for other measurements too: every one leaves in it what it likes."""
        if self._context is None:
            self._context = Context(
                self._model, n_ctx=self._n_ctx, n_batch=CHUNK, n_threads=self._n_threads
            )
        return self._context

    def _fresh(self, adapters: Sequence[tuple[LoraAdapter, float]]) -> Context:
        """Return the context, empty, with these adapters set."""
        context = self.scratch
        context.set_adapters(adapters)
        context.clear()
        return context

    def _evaluate_base(self) -> Generator[None, None, _Base]:
        """Write the probe and evaluate it without adapters."""
        if self._tokens is None:
            question = self._question()
            answer = yield from self._answer(question)
            self._tokens = question + answer
        # The answer is evaluated again, in the chunks that a stack will be: a token evaluated alone
        # rounds otherwise, and a stack that does nothing would seem to do a little.
        chunks = _chunks(self._tokens)
        context = self._fresh([])
        logits = []
        for chunk in chunks:
            logits.append(context.evaluate(chunk))
            yield from self._pause()
        return _Base(chunks, tuple(logits))

    def _question(self) -> list[int]:
        """Return the question as a chat would write it, else, and for a plain base, as it is."""
        n_room = max(1, self._n_ctx - N_ANSWER)
        if self._model.chat_template is not None:
            question = (ChatMessage("user", QUESTION),)
            request = ChatRequest(question, Parameters(num_predict=N_ANSWER))
            try:
                prompt = build_prompt(self._model, request, self._n_ctx)
            except PromptError:
                pass  # a template that fails or is too long: the bare question serves as well
            else:
                if 0 < len(prompt.tokens) <= n_room:
                    return prompt.tokens
        return self._model.tokenize(QUESTION)[:n_room] or [0]

    def _answer(self, question: list[int]) -> Generator[None, None, list[int]]:
        """Return the beginning of the base's likeliest answer, at most `N_ANSWER` tokens."""
        context = self._fresh([])
        for chunk in _chunks(question):
            context.decode(chunk)
            yield from self._pause()
        answer: list[int] = []
        n_most = min(N_ANSWER, self._n_ctx - len(question))
        while len(answer) < n_most:
            token = int(context.logits().argmax())
            if self._model.ends_generation(token):
                break
            answer.append(token)
            if len(answer) < n_most:
                context.decode([token])
                yield from self._pause()
        return answer


def _chunks(tokens: Sequence[int]) -> tuple[Sequence[int], ...]:
    return tuple(tokens[start : start + CHUNK] for start in range(0, len(tokens), CHUNK))


def kl_divergence(logits: Logits, base: Logits) -> float:
    """Return the sum over the rows of KL(softmax(logits) || softmax(base)), in nats."""
    total = 0.0
    # Row by row: 8 rows of a large vocabulary would be 10 MB for every intermediate result.
    for row, base_row in zip(logits, base, strict=True):
        if np.array_equal(row, base_row):
            continue
        log_p, log_q = _log_softmax(row), _log_softmax(base_row)
        # A token that the model rules out altogether has -inf, and 0 * -inf is no number.
        is_possible = log_p > -np.inf
        log_p, log_q = log_p[is_possible], log_q[is_possible]
        # No dot product: for that numpy starts threads, which wait for llama.cpp's (300 ms for
        # 16 rows of 32,000 on a busy machine, against 4).
        total += float((np.exp(log_p) * (log_p - log_q)).sum())
    if not math.isfinite(total):
        raise GenerationError(_OUT_OF_RANGE)
    return total


def _log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    largest = float(logits.max())  # NaN where there is one
    if not math.isfinite(largest):
        raise GenerationError(_OUT_OF_RANGE)
    shifted = logits.astype(np.float64) - largest
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
