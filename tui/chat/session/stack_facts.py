"""Track what is known of the stack in force: its effect, its form, and whether it is exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.protocol.events import EffectMeasured, FormChosen
from engine.protocol.settings import SwapMode
from engine.protocol.values import AdapterEffect, Form
from engine.stack import AdapterStack


@dataclass(frozen=True, slots=True)
class StackState:
    """What the rack shows of one stack; unknown fields show nothing."""

    effect_nats: float | None = None
    """Mean KL divergence of the next-token distribution against the bare base, in nats."""
    form: Form = "none"
    reason: str = ""
    """Why this form, as one clause; empty if it was not chosen."""
    is_approximate: bool = False
    """Whether an answer under it relies on a context that another stack has read."""
    is_live: bool = False
    """Whether a change applies in the middle of an answer."""
    adapters: Mapping[str, AdapterEffect] = field(default_factory=dict)
    """What each adapter does alone, by the sha256 of its content."""


class StackFacts:
    """Remembers what the engine has measured; every fact belongs to a stack's digest.

    An effect is a function of base and digest: it is kept until another base is loaded, and shown
    at once when a stack comes back. The form is remembered for the stack in force only.
    """

    def __init__(self) -> None:
        self._effects: dict[str, float] = {}
        self._adapters: dict[str, AdapterEffect] = {}
        self._form_digest = ""
        self._form: Form = "none"
        self._reason = ""
        self._read_digest: str | None = None
        self._is_read_mixed = False

    def forget_base(self) -> None:
        """Forget everything, because another base is loaded."""
        self._effects, self._adapters = {}, {}
        self._form_digest, self._form, self._reason = "", "none", ""
        self.forget_chat()

    def forget_chat(self) -> None:
        """Forget which stack the context was read under: a new chat has no context."""
        self._read_digest, self._is_read_mixed = None, False

    def formed(self, digest: str, form: Form) -> None:
        """Record the form in which a stack is in force."""
        if (digest, form) != (self._form_digest, self._form):
            self._form_digest, self._form, self._reason = digest, form, ""

    def chosen(self, event: FormChosen) -> None:
        """Record another form of the stack in force; ignore one of an earlier stack."""
        if event.digest == self._form_digest:
            self._form, self._reason = event.form, event.reason

    def measured(self, event: EffectMeasured) -> list[str]:
        """Record an effect; return the notices of adapters measured for the first time."""
        if math.isfinite(event.effect_nats):
            self._effects[event.digest] = event.effect_nats
        sentences: list[str] = []
        for effect in event.adapters:
            if effect.sha256 in self._adapters:
                continue
            self._adapters[effect.sha256] = effect
            sentences += effect.notices
        return sentences

    def answered(self, digest: str, *, is_approximate: bool) -> None:
        """Record the stack that the chat's context was last read under."""
        self._read_digest, self._is_read_mixed = digest, is_approximate

    def state(
        self, stack: AdapterStack, *, swap: SwapMode, is_live: bool, is_mixed: bool
    ) -> StackState:
        """Return what is known of `stack`; `is_mixed` says that it changed within an answer."""
        digest = stack.digest
        is_kept = swap == "keep" and self._read_digest is not None
        has_form = digest == self._form_digest
        return StackState(
            effect_nats=self._effects.get(digest) if stack.effective else None,
            form=self._form if has_form else "none",
            reason=self._reason if has_form else "",
            is_approximate=is_mixed
            or (is_kept and (self._read_digest != digest or self._is_read_mixed)),
            is_live=is_live,
            adapters=dict(self._adapters),
        )
