"""Run llama.cpp in a worker process that reads requests on stdin and writes events on stdout.

An abort or a segmentation fault inside llama.cpp ends only this process. The worker exits when its
stdin closes, so it never outlives the program that started it.
"""

from __future__ import annotations

import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, TypeGuard

import msgspec

from engine.errors import EngineError, GenerationError
from engine.protocol.events import (
    Configured,
    Event,
    Failed,
    Loaded,
    LoadProgress,
    Settled,
    StackApplied,
)
from engine.protocol.requests import (
    Cancel,
    Configure,
    Generate,
    Load,
    Request,
    SetStack,
    Settle,
    Shutdown,
)
from engine.protocol.settings import EngineSettings
from engine.runtime.answer.generation import generate
from engine.runtime.idle_work import Pause, Step, settle
from engine.runtime.runtime import Runtime
from engine.worker.token_batch import _Throttle, _TokenBatch
from modelfiles.errors import names_of_stored

log = logging.getLogger("engine.worker")

PROGRESS_INTERVAL_S = 0.05


class _Wake:
    """Queue item that wakes the worker for news outside the queue: live requests or cancels."""


class Worker:
    """Serves one request after the other; a cancel overtakes the queue.

    While the queue is empty it prepares the next answer (`runtime.idle_work`) in short steps.

    Args:
        requests: Stream of requests to read, one JSON document per line.
        events: Stream to write events to, one JSON document per line.
    """

    def __init__(self, requests: BinaryIO, events: BinaryIO) -> None:
        self._requests = requests
        self._events = events
        self._queue: queue.SimpleQueue[Request | _Wake | None] = queue.SimpleQueue()
        self._live: queue.SimpleQueue[SetStack | Configure] = queue.SimpleQueue()
        """Requests to apply in the middle of the answer being generated."""
        self._n_queued = self._n_taken = 0
        """SetStack and Load requests queued by the reading thread, and taken by the main one."""
        self._is_generating = False
        self._settling: tuple[int, Generator[Step, None, None]] | None = None
        """Id of the Settle request, and its remaining steps."""
        self._cancelled: set[int] = set()
        self._is_closing = False
        self._encoder = msgspec.json.Encoder()
        self._settings = EngineSettings()
        self._runtime: Runtime | None = None

    def run(self) -> None:
        """Serve until a Shutdown request or the end of the input."""
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        try:
            while (request := self._next()) is not None:
                self._serve(request)
        except BrokenPipeError:
            log.warning("nobody listens any more")
        finally:
            if self._runtime is not None:
                self._runtime.persist()
                self._runtime.close()

    def _next(self) -> Request | None:
        """Return the next request, doing background work until one arrives; None at the end."""
        while True:
            wait_s = self._settle_a_step()
            try:
                item = self._queue.get(block=wait_s != 0.0, timeout=wait_s)
            except queue.Empty:
                continue
            if isinstance(item, _Wake):
                if self._live.empty():
                    continue
                # The answer it should have applied to has ended.
                item = self._live.get()
            else:
                self._n_taken += isinstance(item, SetStack | Load)
            self._stop_settling()
            return item

    def _settle_a_step(self) -> float | None:
        """Do one step of background work; return how long to wait for a request (None: forever)."""
        if self._settling is None:
            return None
        request_id, steps = self._settling
        if request_id in self._cancelled:
            self._stop_settling()
            return None
        try:
            step = next(steps)
        except StopIteration:
            self._settling = None
            return None
        except (EngineError, MemoryError):
            # Background work is optional, so its failure must not end the worker.
            log.exception("background work failed")
            self._stop_settling()
            return None
        if isinstance(step, Pause):
            return step.wait_s
        if step is not None:
            self._send(step)
        return 0.0

    def _stop_settling(self) -> None:
        if self._settling is not None:
            request_id, steps = self._settling
            self._settling = None
            steps.close()
            self._cancelled.discard(request_id)
            self._send(Settled(request_id, is_complete=False))

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(Request)
        for line in self._requests:
            try:
                request = decoder.decode(line)
            except (msgspec.MsgspecError, EngineError) as error:
                log.error("a request that cannot be read: %s", error)
                continue
            if isinstance(request, Cancel):
                self._cancelled.add(request.target_id)
                self._queue.put(_Wake())
            elif self._is_generating and self._applies_at_once(request):
                self._live.put(request)
                self._queue.put(_Wake())
            elif isinstance(request, Shutdown):
                break
            else:
                self._n_queued += isinstance(request, SetStack | Load)
                self._queue.put(request)
        self._is_closing = True
        self._queue.put(None)

    def _applies_at_once(self, request: Request) -> TypeGuard[SetStack | Configure]:
        """Return whether a request is served in the middle of an answer.

        A SetStack must wait while an earlier SetStack or Load is queued.
        """
        if isinstance(request, SetStack):
            return self._settings.is_live and self._n_queued == self._n_taken
        return isinstance(request, Configure)

    def _serve(self, request: Request) -> None:
        if self._is_closing:
            return
        try:
            match request:
                case Load():
                    self._load(request)
                case Configure():
                    self._configure(request)
                case SetStack():
                    self._set_stack(request)
                case Settle():
                    runtime = self._loaded_runtime()
                    steps = settle(runtime, request, lambda: not self._queue.empty())
                    self._settling = request.request_id, steps
                case Generate():
                    self._generate(request)
                    self._cancelled.discard(request.request_id)
        except EngineError as error:
            error.about(_names(request))
            self._send(Failed(_id_of(request), type(error).__name__, str(error)))
        except MemoryError:
            self._send(
                Failed(
                    _id_of(request),
                    "EngineError",
                    "The memory is full: close other programs or take a smaller model.",
                )
            )

    def _load(self, request: Load) -> None:
        progress = _Throttle(PROGRESS_INTERVAL_S)

        def report(fraction: float) -> bool:
            if fraction >= 1.0 or progress.is_due():
                self._send(LoadProgress(request.request_id, fraction))
            return not self._is_closing

        # Free the old base only after the new one is loaded, so that a failed load loses nothing.
        # Weights are memory-mapped, so they do not count twice meanwhile. The old base's snapshots
        # are written first, since the new base may be the same one.
        if self._runtime is not None:
            self._runtime.persist()
        runtime = Runtime(request.spec, on_progress=report, settings=self._settings)
        if self._runtime is not None:
            self._runtime.close()
        self._runtime = runtime
        self._send(Loaded(request.request_id, runtime.info))

    def _configure(self, request: Configure) -> None:
        self._settings = request.settings
        if self._runtime is not None:
            self._runtime.configure(request.settings)
        self._send(Configured(request.request_id))

    def _set_stack(self, request: SetStack) -> None:
        started = time.perf_counter()
        form = self._loaded_runtime().set_stack(request.stack)
        elapsed_s = time.perf_counter() - started
        self._send(StackApplied(request.request_id, request.stack.digest, elapsed_s, form))

    def _generate(self, request: Generate) -> None:
        batch = _TokenBatch(request.request_id, self._send)
        self._is_generating = True
        try:
            for event in generate(
                self._loaded_runtime(),
                request.chat,
                is_cancelled=lambda: self._is_closing or request.request_id in self._cancelled,
                request_id=request.request_id,
            ):
                batch.add(event)
                while not self._live.empty():
                    self._serve(self._live.get())
        finally:
            self._is_generating = False

    def _loaded_runtime(self) -> Runtime:
        if self._runtime is None:
            raise GenerationError("No base is loaded yet.")
        return self._runtime

    def _send(self, event: Event) -> None:
        self._events.write(self._encoder.encode(event) + b"\n")
        self._events.flush()


def _names(request: Request) -> dict[Path, str]:
    """Return what the user calls the files of a request."""
    match request:
        case Load(spec=spec) if spec.base.name:
            return {Path(spec.base.path): spec.base.name}
        case SetStack(stack=stack):
            return names_of_stored({entry.adapter.file: entry.adapter.name for entry in stack})
    return {}


def _id_of(request: Request) -> int:
    return 0 if isinstance(request, Cancel | Shutdown) else request.request_id


def main() -> None:
    """Serve the parent process on stdin and stdout."""
    # Ctrl+C in the terminal reaches every process of the group; only the client decides to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    Worker(sys.stdin.buffer, sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
