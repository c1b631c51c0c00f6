"""Apply a stack to llama.cpp layered (its adapters separately) or fused into one adapter.

Both forms are mathematically equal and share the digest, so the KV cache serves both. A change is
applied layered at once; the fused adapter replaces it as soon as it is built and loaded.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Final

from engine.adapters.checking.check import check_headers, require_fit
from engine.adapters.checking.rules import require_kept
from engine.adapters.read import require_same
from engine.errors import AdapterError, EngineError
from engine.gguf.header import GgufHeader, read_header
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context
from engine.llama.model import Model
from engine.protocol.settings import FuseMode
from engine.protocol.values import Form
from engine.runtime.stacks.decode_speed import Pairs, speed_ratio
from engine.runtime.stacks.fuser import Fuser
from engine.stack import AdapterStack, StackEntry

log = logging.getLogger("engine.runtime.stacks.applied_stack")

MAX_AT_ONCE_BYTES: Final = 8 * 2**20
"""Fused adapters up to this size are built synchronously with the change of the stack: 4 adapters
of rank 8 on the demo (1.3 MB) take a few milliseconds."""
MAX_KEPT: Final = 3
"""Most fused adapters kept loaded, for switching between stacks, as when comparing two mixes."""
MAX_KEPT_BYTES: Final = 512 * 2**20
"""Most memory of the fused adapters kept loaded; one may exceed it. Eight adapters of rank 16 fused
take 90 MB on a 1B base and 0.7 GB on an 8B one."""
MAX_ONE_BY_ONE: Final = 8
"""Most adapters applied layered on an architecture whose graph reserves no room for them."""
FIXED_GRAPHS: Final = frozenset(
    {
        *("qwen3next", "qwen35", "qwen35moe", "qwen4exp", "kimi-linear", "kimi-k3", "glm5-next"),
        *("bailingmoe3", "deepseek4", "nanbeige", "minimax-01", "minimax-m3", "hy_v4", "hrm_text"),
    }
)
"""Architectures for which llama.cpp ignores adapters when it sizes the graph (`graph_max_nodes` in
llama-context.cpp). Measured on qwen35 and qwen3next: aborts with 64 adapters, not with 24."""
MIN_SPEED_RATIO: Final = 0.97
"""Lowest decode speed of the fused form, relative to layered, at which it is used. It is below 1
because prefill is faster fused (measured 1.3 to 2.8 times)."""


class StackForms:
    """The adapters loaded for one base, and the form in which the stack is applied.

    Args:
        model: The base.
        context: The context that stacks are applied to.
        header: The base's header, which adapters are checked against.
        fuser: Builds the fused adapters.
        mode: Whether fused adapters are used.
    """

    def __init__(
        self, model: Model, context: Context, header: GgufHeader, fuser: Fuser, mode: FuseMode
    ) -> None:
        self._model = model
        self._context = context
        self._header = header
        self._fuser = fuser
        self._mode: FuseMode = mode
        self._single: dict[str, LoraAdapter] = {}
        """Adapters by the digest of their content."""
        self._fused: OrderedDict[str, LoraAdapter] = OrderedDict()
        """Fused adapters by stack digest, most recently used last."""
        self._fused_bytes: dict[str, int] = {}
        self._refused: set[str] = set()
        """Stack digests whose fused adapter was built but could not be loaded."""
        self._ratios: dict[frozenset[str], float] = {}
        """Decode speed of fused relative to layered, by set of adapters; scales do not matter."""
        self._applied = AdapterStack()
        self._applied_digest = self._applied.digest
        self._applied_form: Form = "none"

    @property
    def form(self) -> Form:
        """The form of the stack applied last."""
        return self._applied_form

    @property
    def applied(self) -> AdapterStack:
        """The stack applied last."""
        return self._applied

    def set_mode(self, mode: FuseMode) -> None:
        """Use another mode from here on, and put the applied stack into its form."""
        self._mode = mode
        self.want(self._applied)
        self.apply(self._applied)

    def load(self, stack: AdapterStack) -> None:
        """Load every adapter of `stack`, also those that are off; on an error change nothing.

        Raises:
            GgufError: An adapter's file is missing or not GGUF.
            AdapterError: An adapter does not fit the base, or its file has changed since it was
                read.
        """
        added: dict[str, LoraAdapter] = {}
        try:
            for entry in stack.entries:
                sha256 = entry.adapter.sha256
                if sha256 not in self._single and sha256 not in added:
                    added[sha256] = self._load(entry)
        except BaseException:
            for adapter in added.values():
                adapter.close()
            raise
        self._single |= added

    def keep_only(self, stack: AdapterStack) -> None:
        """Free the adapters that are not in `stack`."""
        for sha256 in set(self._single) - {entry.adapter.sha256 for entry in stack.entries}:
            self._single.pop(sha256).close()

    def apply(self, stack: AdapterStack) -> Form:
        """Apply a stack whose adapters are loaded, and return the form chosen for it.

        Raises `EngineError` if neither form is possible; the previous stack then stays applied.
        """
        form, digest = self._form_for(stack), stack.digest
        if (digest, form) != (self._applied_digest, self._applied_form):
            # Every change makes llama.cpp rebuild its graph: 15 to 45 ms on a 135M base.
            self._context.set_adapters(self.pairs(stack, form))
        self._applied, self._applied_digest, self._applied_form = stack, digest, form
        self._evict()
        return form

    def poll(self) -> bool:
        """Switch the applied stack to its fused adapter if that is ready; return whether it did."""
        # Called before every token, so the cheap and common checks come first.
        if self._applied_form != "layered" or self._fuser.ready(self._applied_digest) is None:
            return False
        return self.apply(self._applied) == "fused"

    @property
    def is_building(self) -> bool:
        """Whether the applied stack's fused adapter is still being built."""
        return self._fuser.is_underway(self._applied_digest)

    def pairs(self, stack: AdapterStack, form: Form) -> Pairs:
        """Return the loaded adapters and scales that make up `stack` in a form."""
        if form == "fused":
            return [(self._fused[stack.digest], 1.0)]
        return [(self._single[sha256], scale) for sha256, scale in stack.effective.items()]

    def served(self, stack: AdapterStack) -> Pairs:
        """Return the loaded adapters and scales of `stack` in the form chosen for it now."""
        return self.pairs(stack, self._form_for(stack))

    def adapter(self, sha256: str) -> LoraAdapter:
        """Return the loaded adapter with that digest."""
        return self._single[sha256]

    def compare(self, scratch: Callable[[], Context]) -> Generator[None, None, float | None]:
        """Measure both forms of the applied stack and use the faster; yields in between.

        Returns the decode speed of fused relative to layered, measured now or earlier for these
        adapters; None if the form is fixed (by mode, stack size or architecture) or there is no
        fused adapter. Close the generator before changing the stack. `scratch` returns a context
        whose state may be overwritten.
        """
        stack = self._applied
        key = frozenset(stack.effective)
        if self._mode != "auto" or len(stack.effective) < 2 or self._must_fuse(stack):
            return None
        if key in self._ratios:
            return self._ratios[key]
        if not self._take(stack.digest):
            return None
        layered, fused = self.pairs(stack, "layered"), self.pairs(stack, "fused")
        context = scratch()
        try:
            self._ratios[key] = yield from speed_ratio(context, layered, fused)
        finally:
            context.set_adapters([])
        self.apply(stack)
        return self._ratios[key]

    def close(self) -> None:
        """Stop building; the adapters are freed with the model."""
        self._fuser.close()

    def _load(self, entry: StackEntry) -> LoraAdapter:
        require_fit(entry.adapter.file, self._header)
        require_same(entry.adapter)
        return LoraAdapter(self._model, entry.adapter.file)

    def _is_wanted(self, stack: AdapterStack) -> bool:
        """Return whether a fused adapter for `stack` should be built."""
        if len(stack.effective) < 2:
            return False
        return self._must_fuse(stack) or self._uses_fused(stack)

    def _uses_fused(self, stack: AdapterStack) -> bool:
        """Return whether `stack` uses its fused adapter once that is built."""
        if self._mode == "never":
            return False
        ratio = self._ratios.get(frozenset(stack.effective), 1.0)
        return self._mode == "always" or ratio >= MIN_SPEED_RATIO

    def _must_fuse(self, stack: AdapterStack) -> bool:
        """Return whether llama.cpp might abort on `stack` applied layered."""
        is_fixed = self._header.architecture in FIXED_GRAPHS
        return is_fixed and len(stack.effective) > MAX_ONE_BY_ONE

    def want(self, stack: AdapterStack) -> None:
        """Start fusing a stack in the background if a fused form is useful.

        Fuses synchronously if the result is small, the mode is `always`, or the stack must be
        fused. Raises `EngineError` if it must be fused and cannot be.
        """
        if not self._is_wanted(stack) or stack.digest in self._fused:
            return
        try:
            if (
                self._mode == "always"
                or self._must_fuse(stack)
                or self._fuser.fused_size_bytes(stack) <= MAX_AT_ONCE_BYTES
            ):
                self._fuser.build_now(stack)
            else:
                self._fuser.want(stack)
        except (EngineError, MemoryError):
            if self._must_fuse(stack):
                raise
            log.exception("a stack cannot be fused")

    def _form_for(self, stack: AdapterStack) -> Form:
        n_active = len(stack.effective)
        if n_active < 2:
            return "single" if n_active else "none"
        if self._must_fuse(stack):
            self.want(stack)
            if not self._take(stack.digest):
                raise AdapterError(
                    f"llama.cpp takes at most {MAX_ONE_BY_ONE} adapters on "
                    f"{self._header.architecture} models, and these {n_active} cannot be fused: "
                    "switch some off."
                )
            return "fused"
        return "fused" if self._uses_fused(stack) and self._take(stack.digest) else "layered"

    def _take(self, digest: str) -> bool:
        """Load the fused adapter of a stack digest if it is built; return whether it is loaded."""
        if digest in self._fused:
            self._fused.move_to_end(digest)
            return True
        path = self._fuser.ready(digest)
        if path is None or digest in self._refused:
            return False
        try:
            # The fuser has verified its checksum, and its parts for NaN.
            require_kept(check_headers(read_header(path), self._header))
            self._fused[digest] = LoraAdapter(self._model, path)
            self._fused_bytes[digest] = path.stat().st_size
        except (EngineError, OSError):
            # The stack stays layered, which only costs speed.
            log.exception("a fused adapter cannot be used")
            self._refused.add(digest)  # avoids a retry before every token
            return False
        return True

    def _evict(self) -> None:
        """Free the least recently used fused adapters over the limits, but never the applied one.

        If that were freed, llama.cpp would silently go on with the bare base.
        """
        for digest in list(self._fused):
            n_bytes = sum(self._fused_bytes.values())
            if len(self._fused) <= MAX_KEPT and n_bytes <= MAX_KEPT_BYTES:
                return
            if len(self._fused) > 1 and digest != self._applied_digest:
                del self._fused_bytes[digest]
                self._fused.pop(digest).close()
