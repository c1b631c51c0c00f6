"""A fake Hugging Face Hub on the loopback, with the endpoints of its client and injected faults.

`FakeHub.repos` holds the served files; `weather` defines faults by request, and how often.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.hub_answers import COMMIT, Answer, answer_to

__all__ = ["COMMIT", "FakeHub", "Weather", "serving"]

TOKEN = "hf_right"
"""The token that may see private and gated repositories."""


@dataclass(slots=True)
class Weather:
    """A fault for requests whose `METHOD /path` contains a match of `pattern`."""

    pattern: str
    times: int = 1_000_000
    """Number of requests with the fault; later ones succeed."""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Body sent instead of the requested content."""
    cut_after: int | None = None
    """Number of body bytes sent before the connection breaks."""
    held: threading.Event | None = None
    """Event to wait for before the connection breaks."""


@dataclass(slots=True)
class FakeHub:
    """The state of a hub served at `url`: files by repository (`user/repo`), faults, requests."""

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further JSON fields of a repository, such as `downloads` and `tags`."""
    commits: dict[str, str] = field(default_factory=dict)
    """The newest commits of repositories, if not `COMMIT`."""
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    """Repositories whose requests fail with status 500."""
    weather: list[Weather] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every request, as `GET /path`."""
    tokens: list[str] = field(default_factory=list)
    """The token of every request, or an empty text."""
    ranges: list[str] = field(default_factory=list)
    """The byte range of every request, or an empty text."""
    answered: list[tuple[str, float]] = field(default_factory=list)
    """Every request with the start time of its answer, by `time.perf_counter`."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    """Set once an answer is held back."""

    def clear(self) -> None:
        """Remove all repositories, faults and records, for the next test on the same server."""
        for held in (self.repos, self.facts, self.commits, self.gated, self.private, self.broken):
            held.clear()
        for told in (self.weather, self.requests, self.tokens, self.ranges, self.answered):
            told.clear()

    def environment(self, cache: Path) -> dict[str, str]:
        """Return the variables with which a process uses this hub, with its cache in `cache`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def weather_of(self, request: str) -> Weather | None:
        """Return the fault of a request, if any, and count it."""
        for weather in self.weather:
            if weather.times > 0 and re.search(weather.pattern, request):
                weather.times -= 1
                return weather
        return None


@contextmanager
def serving() -> Iterator[FakeHub]:
    """Serve a hub until the end of the block."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def _answer(self, *, has_body: bool) -> None:
            request = f"{self.command} {self.path}"
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            asked = self.headers.get("Range", "")
            hub.requests.append(request)
            hub.tokens.append(token)
            hub.ranges.append(asked)
            address = urlsplit(self.path)
            answer = answer_to(
                hub, unquote(address.path), parse_qs(address.query), token == TOKEN, asked
            )
            weather = hub.weather_of(request)
            self._send(answer, weather, has_body=has_body)

        def _send(self, answer: Answer, weather: Weather | None, *, has_body: bool) -> None:
            headers, body, cut_after = dict(answer.headers), answer.body, None
            if weather is not None:
                headers |= weather.headers
                body = weather.body if weather.body is not None else body
                cut_after = weather.cut_after
            hub.answered.append((f"{self.command} {self.path}", time.perf_counter()))
            self.send_response(weather.status if weather and weather.status else answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if has_body:
                self.wfile.write(body if cut_after is None else body[:cut_after])
            if weather is not None and weather.held is not None:
                hub.has_begun.set()
                weather.held.wait(60)
            if cut_after is not None:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
