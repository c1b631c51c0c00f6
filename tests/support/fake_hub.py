"""A Hugging Face Hub on the loopback: the routes and headers that its client needs."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True)
class FakeHub:
    """Repositories by `user/repo`, each with its files; served at `url`."""

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    """Repositories for which the server fails."""
    requests: list[str] = field(default_factory=list)
    """Every request, as `GET /path`."""

    def environment(self, cache: Path) -> dict[str, str]:
        """Return what a process needs to use this hub, with its cache in `cache`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


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
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, body = _response(hub, unquote(urlsplit(self.path).path))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if has_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _response(hub: FakeHub, path: str) -> tuple[int, dict[str, str], bytes]:
    match = re.match(r"/api/models/([^/]+/[^/]+)|/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
    if match is None:
        return 404, {}, b"{}"
    repo = match[1] or match[2]
    if repo in hub.broken:
        return 500, {}, b"{}"
    if repo in hub.gated:
        return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
    files = hub.repos.get(repo)
    if files is None:
        # What the Hub answers whoever may not know whether a repository exists.
        return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
    if match[1]:
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        info = {"id": repo, "sha": COMMIT, "siblings": siblings}
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
    content = files.get(match[3])
    if content is None:
        return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
    etag = hashlib.sha256(content).hexdigest()
    return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, content
