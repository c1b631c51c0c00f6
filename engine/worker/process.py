"""Run a worker process from asyncio: send requests, receive events, explain its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

import msgspec

import engine
from engine.errors import WorkerError
from engine.protocol.events import Event
from engine.protocol.requests import Request, Shutdown

LINE_LIMIT_BYTES = 64 * 2**20
"""Longest event accepted; the last event of an answer contains its whole text."""
CLOSE_TIMEOUT_S = 5.0


class WorkerProcess:
    """One run of `engine.worker`, created by `start` and ended by `close` or a crash."""

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path | None) -> None:
        self._process = process
        self._log_path = log_path
        self._waiting: dict[int, asyncio.Queue[Event | None]] = {}
        self._last_words: deque[str] = deque(maxlen=20)
        self._tasks = (
            asyncio.create_task(self._read_events(), name="worker events"),
            asyncio.create_task(self._read_log(), name="worker log"),
        )

    @classmethod
    async def start(cls, log_path: Path | None = None) -> Self:
        """Start a worker; its stderr is appended to `log_path`."""
        # -P keeps the current folder, which may contain another `engine`, off the module path.
        source = str(Path(engine.__file__).parent.parent)
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", "engine.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # On an abort ggml would spend some seconds in a debugger to print a backtrace.
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(paths),
                    "GGML_NO_BACKTRACE": "1",
                },
                limit=LINE_LIMIT_BYTES,
            )
        except OSError as error:
            raise WorkerError(f"The engine could not be started: {error.strerror}.") from error
        return cls(process, log_path)

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether requests can be sent."""
        return self._process.returncode is None and not self._tasks[0].done()

    async def send(self, request: Request) -> None:
        """Write a request; raises `WorkerError` if the worker has ended."""
        stdin = self._process.stdin
        assert stdin is not None  # opened as a pipe
        try:
            line = msgspec.json.encode(request)
        except UnicodeEncodeError as error:
            raise WorkerError(
                f"{error.object!r} is not valid Unicode and cannot be sent to the engine: give the "
                "file a name in UTF-8."
            ) from error
        try:
            stdin.write(line + b"\n")
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WorkerError(await self._death()) from error

    async def ask(self, request_id: int, request: Request) -> AsyncGenerator[Event, None]:
        """Send a request and yield the events that answer it until the generator is closed.

        Raises:
            WorkerError: The request cannot be sent or the worker ended; the text says why.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._waiting[request_id] = events
        try:
            if not self.is_alive:
                raise WorkerError(await self._death())
            await self.send(request)
            while (event := await events.get()) is not None:
                yield event
            raise WorkerError(await self._death())
        finally:
            del self._waiting[request_id]

    async def close(self) -> None:
        """Ask the worker to end, and kill it after `CLOSE_TIMEOUT_S`."""
        with contextlib.suppress(WorkerError):
            await self.send(Shutdown())
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.gather(*self._tasks)
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def _read_events(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        decoder = msgspec.json.Decoder(Event)
        async for line in stdout:
            try:
                event = decoder.decode(line)
            except msgspec.MsgspecError:
                self._note(f"not an event: {line[:200]!r}")
                continue
            if (events := self._waiting.get(event.request_id)) is not None:
                events.put_nowait(event)
        for events in self._waiting.values():
            events.put_nowait(None)

    async def _read_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        async for line in stderr:
            self._note(line.decode("utf-8", "replace").rstrip())

    def _note(self, line: str) -> None:
        self._last_words.append(line)
        if self._log_path is not None:
            with contextlib.suppress(OSError), self._log_path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    async def _death(self) -> str:
        """Return a sentence on how the worker ended."""
        code = await self._process.wait()
        await asyncio.gather(*self._tasks)
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signal.Signals(-code).name
                hint = ", perhaps for lack of memory" if name == "SIGKILL" else ""
                return f"The engine was stopped by {name}{hint}; it starts again when it is needed."
        words = next((f" ({line})" for line in reversed(self._last_words) if line), "")
        return f"The engine ended with code {code}{words}; it starts again when it is needed."
