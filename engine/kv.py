"""Which tokens the KV cache holds, and under which stack they were computed.

Keys and values computed under one stack are wrong under another: measured on a small model, a
prefix left from the base hides an adapter's effect altogether. A prefix is therefore reused only
under the digest it was computed with.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.llama import Context


class KvCache:
    """The tokens evaluated in one context, with the digest of the stack they belong to."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._digest: str | None = None
        self._tokens: list[int] = []

    @property
    def n_tokens(self) -> int:
        """Number of tokens held."""
        return len(self._tokens)

    def prepare(self, tokens: Sequence[int], digest: str) -> int:
        """Keep the longest usable prefix of `tokens` and return its length.

        At least one token is left to evaluate, since the logits come from evaluating the last.
        """
        n_reused = 0
        if digest == self._digest:
            n_reused = common_prefix(self._tokens, tokens[:-1])
        if n_reused < len(self._tokens) or digest != self._digest:
            if n_reused == 0 or not self._context.truncate(n_reused):
                self.clear()
                n_reused = 0
            else:
                del self._tokens[n_reused:]
        self._digest = digest
        return n_reused

    def decode(self, tokens: Sequence[int]) -> None:
        """Evaluate tokens after those held; on a failure nothing is held."""
        try:
            self._context.decode(tokens)
        except BaseException:
            self.clear()
            raise
        self._tokens.extend(tokens)

    def clear(self) -> None:
        """Forget everything."""
        self._context.clear()
        self._tokens.clear()
        self._digest = None


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    n = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        n += 1
    return n
