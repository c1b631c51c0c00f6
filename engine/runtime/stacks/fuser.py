"""Build fused adapters in a background thread, only ever for the stack wanted last.

A failed build is not reported as an error, since the layered form of a stack works too, only more
slowly; it is logged, and `Fuser.problem` returns it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from engine.adapters.fusing.fuse import fuse, fused_size_bytes
from engine.adapters.fusing.plan import BType
from engine.adapters.scaled_adapter import FusePart, part_of
from engine.disk.handle import Handle
from engine.disk.regular_file import require_unchanged
from engine.errors import Cancelled, EngineError, GgufError
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader, read_header
from engine.runtime.stacks.fused_files import FusedCache
from engine.stack import Adapter, AdapterStack
from modelfiles.errors import StoreError

log = logging.getLogger("engine.runtime.stacks.fuser")

_TEMPORARY_BYTES: Final = 512 * 2**20
"""Budget without a cache folder: the temporary folder may lie in memory."""


class Fuser(Handle):
    """Builds and finds the fused adapters of stacks, by the stacks' digests.

    Args:
        cache: Cache for the files; None for a temporary folder that `close` removes.
        b_type: Type of the B tensors; F32 for an F32 base.
    """

    def __init__(self, cache: FusedCache | None = None, *, b_type: BType = GgmlType.F16) -> None:
        self.b_type: BType = b_type
        self._cache = cache
        self._temporary: TemporaryDirectory[str] | None = None
        self._state = threading.Condition()
        """Guards the attributes below, up to `_headers`."""
        self._thread: threading.Thread | None = None
        self._wanted: AdapterStack | None = None
        self._building: str | None = None
        """Digest of the stack being built, by the thread or by `build_now`."""
        self._is_cancelled = False
        self._files: dict[str, Path] = {}
        self._problems: dict[str, str] = {}
        # Not guarded: `_headers` is used by `fused_size_bytes`, the others by one build at a time.
        self._headers: dict[str, GgufHeader] = {}
        self._parts: dict[str, FusePart] = {}
        self._last: tuple[tuple[str, ...], Path] | None = None
        """Digests of the adapters in the last file, and its path; a rescale copies its A."""

    def want(self, stack: AdapterStack) -> None:
        """Build the fused adapter of `stack` in the background, cancelling any other build.

        Returns at once. Does nothing for a stack with fewer than two effective adapters. A stack
        that failed is tried again only after another one was wanted.
        """
        digest = stack.digest
        with self._state:
            if self.is_closed:
                return
            if digest not in self._problems:
                self._problems.clear()
            is_underway = self._is_being_built(digest)
            is_needed = (
                len(stack.effective) > 1
                and digest not in self._problems
                and not is_underway
                and self._ready(digest) is None
            )
            self._wanted = stack if is_needed else None
            self._is_cancelled = not is_underway
            if self._wanted is not None and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fuser", daemon=True)
                self._thread.start()
            self._state.notify_all()

    def ready(self, digest: str) -> Path | None:
        """Return the fused adapter of that stack digest; None until it is built and verified."""
        with self._state:
            return self._ready(digest)

    def is_underway(self, digest: str) -> bool:
        """Return whether the fused adapter of that stack digest is queued or being built."""
        with self._state:
            is_next = self._wanted is not None and self._wanted.digest == digest
            return is_next or self._is_being_built(digest)

    def problem(self, digest: str) -> str | None:
        """Return a sentence on why the last build for that stack digest failed, or None."""
        with self._state:
            return self._problems.get(digest)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is queued or being built; return False on a timeout."""
        with self._state:
            return self._state.wait_for(self._is_idle, timeout_s)

    def build_now(self, stack: AdapterStack) -> Path:
        """Build the fused adapter of `stack` and return it, cancelling any other build.

        Raises:
            AdapterError: The stack is empty, or an adapter's content changed.
            EngineError: A file cannot be read or written.
            Cancelled: Another stack was wanted during the build, or the fuser was closed.
        """
        digest = stack.digest
        with self._state:
            self._wanted = None
            if self._building != digest:
                self._is_cancelled = True
            self._state.wait_for(lambda: self._building is None)
            path = self._ready(digest)
            if path is not None:
                return path
            self._begin(digest)
        try:
            return self._build(stack)
        finally:
            self._end()

    def fused_size_bytes(self, stack: AdapterStack) -> int:
        """Return the size of the fused adapter of `stack`, computed from the adapters' headers.

        Raises `EngineError` if there is nothing to fuse or a header cannot be read.
        """
        parts = []
        for adapter, scale in _summed(stack):
            header = self._headers.get(adapter.sha256)
            if header is None:
                header = self._headers.setdefault(adapter.sha256, read_header(adapter.file))
            parts.append(FusePart(header, adapter.sha256, scale))
        return fused_size_bytes(parts, self.b_type)

    def set_cache(self, cache: FusedCache | None) -> None:
        """Use another cache for later builds; files already built stay where they are."""
        self._cache = cache

    def _free(self) -> None:
        """Cancel the build, end the thread and remove the temporary folder."""
        with self._state:
            self._is_cancelled = True
            self._wanted = None
            self._files.clear()
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join()
        with self._state:
            self._state.wait_for(lambda: self._building is None)
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _work(self) -> None:
        """Build the wanted stacks, one after the other, until the fuser is closed."""
        while True:
            with self._state:
                self._state.wait_for(lambda: self.is_closed or self._is_due())
                if self.is_closed or self._wanted is None:
                    return
                stack, self._wanted = self._wanted, None
                digest = stack.digest
                self._begin(digest)
            problem = None
            try:
                self._build(stack)
            except Cancelled:
                pass
            except EngineError as error:
                problem = str(error)
            except Exception as error:  # the thread must survive for later builds
                log.exception("A fused adapter could not be built")
                problem = f"The fused adapter could not be built: {error!r}."
            if problem is not None:
                log.warning("The stack stays layered: %s", problem)
                with self._state:
                    self._problems[digest] = problem
            self._end()

    def _build(self, stack: AdapterStack) -> Path:
        """Find or build the fused adapter of `stack`; one caller at a time."""
        digest, effective = stack.digest, stack.effective
        names = tuple(effective)
        try:
            cache = self._folder()
        except OSError as error:
            raise EngineError(f"A fused adapter cannot be kept anywhere: {error}.") from error
        key = cache.key(digest, self.b_type)
        previous = self._last[1] if self._last is not None and self._last[0] == names else None

        def write(out: Path) -> None:
            parts = [self._part(adapter, scale) for adapter, scale in _summed(stack)]
            fuse(
                parts,
                out,
                b_type=self.b_type,
                previous=previous,
                is_cancelled=lambda: self._is_cancelled,
            )

        try:
            path = cache.find(key) or cache.build(key, write)
        except (OSError, StoreError) as error:
            raise EngineError(
                f"A fused adapter cannot be kept in {cache.folder}: {error}."
            ) from error
        self._last = names, path
        with self._state:
            self._files[digest] = path
            self._problems.pop(digest, None)
        return path

    def _part(self, adapter: Adapter, scale: float) -> FusePart:
        """Return an adapter as a part; verify its content once, and again if the file changes."""
        part = self._parts.get(adapter.sha256)
        if part is not None:
            try:
                require_unchanged(part.header.path, part.header.stamp)
            except GgufError:
                part = None
        if part is None:
            part = self._parts[adapter.sha256] = part_of(adapter, scale)
        return replace(part, scale=scale)

    def _folder(self) -> FusedCache:
        if self._cache is not None:
            return self._cache
        if self._temporary is None:
            self._temporary = TemporaryDirectory(prefix="lora-tui-fused-")
        return FusedCache(Path(self._temporary.name), _TEMPORARY_BYTES)

    def _ready(self, digest: str) -> Path | None:
        path = self._files.get(digest)
        if path is None:
            return None
        if not path.is_file():  # another process removed it to meet the budget
            del self._files[digest]
            return None
        return path

    def _is_being_built(self, digest: str) -> bool:
        return self._building == digest and not self._is_cancelled

    def _is_due(self) -> bool:
        return self._wanted is not None and self._building is None

    def _is_idle(self) -> bool:
        return self._wanted is None and self._building is None

    def _begin(self, digest: str) -> None:
        self._building, self._is_cancelled = digest, self.is_closed

    def _end(self) -> None:
        with self._state:
            self._building = None
            self._state.notify_all()


def _summed(stack: AdapterStack) -> list[tuple[Adapter, float]]:
    """Return each distinct adapter of the stack with its summed scale, ordered by digest."""
    adapters = {entry.adapter.sha256: entry.adapter for entry in reversed(stack.active)}
    return [(adapters[sha256], scale) for sha256, scale in stack.effective.items()]
