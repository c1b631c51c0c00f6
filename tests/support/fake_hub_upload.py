"""A fake Hugging Face Hub on the loopback that accepts uploads by the real client.

Supports accounts, repositories, the upload of large files (Git LFS, basic and multipart transfer)
and commits. Records every request, checks every digest, and fails on requests that a test chose.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_" + "WriteMyAdapters" * 2
READER_TOKEN = "hf_" + "OnlyReadMyFiles" * 2
SAID = f"told to fail, {TOKEN} Bearer {TOKEN} http://127.0.0.1/lfs?signature=secret"
"""The error message of injected failures; it holds secrets, which must not be passed on."""
COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
_REPO = r"([^/]+/[^/]+)"
_LFS_ENDINGS = (".gguf", ".safetensors")


@dataclass(slots=True)
class Repository:
    """The files, commits and visibility of a repository."""

    is_private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    """File endings that its .gitignore excludes."""
    n_commits: int = 0
    messages: list[str] = field(default_factory=list)


@dataclass(slots=True)
class UploadHub:
    """Repositories by `user/repo`; the account `me` may write to `me/…` and `band/…`."""

    url: str = ""
    repos: dict[str, Repository] = field(default_factory=dict)
    failing: dict[str, int] = field(default_factory=dict)
    """Status of the answer by request prefix, such as `POST /api/repos`; 0 hangs up."""
    requests: list[str] = field(default_factory=list)
    """Every request, as `GET /path`."""
    large: dict[str, bytes] = field(default_factory=dict)
    """Uploaded content by digest."""
    part_bytes: int | None = None
    """Size of the parts of multipart uploads; None uses the basic transfer."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Uploaded parts of multipart content, by digest and part number."""
    has_begun: threading.Event = field(default_factory=threading.Event)
    """Set when the content of a file begins to arrive."""
    holds_content: bool = False
    """Whether to withhold the acknowledgement of file content."""
    is_over: threading.Event = field(default_factory=threading.Event)

    def environment(self, cache: Path, token: str | None = TOKEN) -> dict[str, str]:
        """Return the variables with which a process uses this hub, logged in with `token`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_TOKEN": token or "",
        }

    @property
    def changes(self) -> list[str]:
        """The requests that modify the hub."""
        reading = ("GET ", "HEAD ", "POST /api/validate-yaml")
        return [request for request in self.requests if not request.startswith(reading)]


@contextmanager
def serving() -> Iterator[UploadHub]:
    """Serve a hub until the end of the block."""
    hub = UploadHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            request = f"{self.command} {path}"
            hub.requests.append(request)
            if self.command == "PUT":
                hub.has_begun.set()
                if hub.holds_content:
                    hub.is_over.wait()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            failing = [code for start, code in hub.failing.items() if request.startswith(start)]
            if failing and failing[0] == 0:
                self.close_connection = True
                return
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, answer, headers = (
                (failing[0], {"error": SAID}, {})
                if failing
                else _response(hub, self.command, path, token, body)
            )
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            with suppress(ConnectionError):  # the client was interrupted
                self.end_headers()
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.is_over.set()
        server.shutdown()
        thread.join()
        server.server_close()


Response = tuple[int, Any, dict[str, str]]


def _response(hub: UploadHub, method: str, path: str, token: str, body: bytes) -> Response:
    if method == "PUT":
        return _put(hub, path, body)
    if path.startswith("/lfs/"):
        return _completed(hub, path, json.loads(body))
    if path == "/api/agent-harnesses":
        return 404, {}, {}
    if token not in (TOKEN, READER_TOKEN):
        message = "Invalid credentials in Authorization header"
        return 401, {"error": message}, {"X-Error-Message": message}
    if path == "/api/whoami-v2":
        role = "write" if token == TOKEN else "read"
        account = {"name": "me", "type": "user", "orgs": [{"name": "band"}]}
        return 200, {**account, "auth": {"accessToken": {"role": role}}}, {}
    if path == "/api/validate-yaml":
        return _validated(json.loads(body)["content"])
    if token != TOKEN:
        return _forbidden() if method == "POST" else _not_found()
    if path == "/api/repos/create":
        return _created(hub, json.loads(body))
    match = re.fullmatch(rf"/api/models/{_REPO}(?:/(preupload|commit|paths-info)/[^/]+)?", path)
    lfs = re.fullmatch(rf"/{_REPO}\.git/info/lfs/objects/batch", path)
    repo = (match or lfs or [""])[1] if match or lfs else ""
    repository = hub.repos.get(repo)
    if repository is None:
        return _not_found()
    if lfs:
        return _batch(hub, json.loads(body))
    assert match is not None
    match match[2]:
        case "preupload":
            return _preupload(repository, json.loads(body))
        case "commit":
            return _commit(hub, repo, repository, body)
        case "paths-info":
            paths = re.findall(r"paths=([^&]+)", body.decode()) or json.loads(body)["paths"]
            there = [unquote(name) for name in paths if unquote(name) in repository.files]
            infos = [
                {"type": "file", "path": name, "size": len(repository.files[name]), "oid": "0" * 40}
                for name in there
            ]
            return 200, infos, {}
    siblings = [{"rfilename": name} for name in repository.files]
    info = {"id": repo, "sha": COMMIT, "private": repository.is_private, "siblings": siblings}
    return 200, info, {}


def _not_found() -> Response:
    return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}


def _forbidden() -> Response:
    message = "You don't have the rights for this namespace"
    return 403, {"error": message}, {"X-Error-Message": message}


def _created(hub: UploadHub, wanted: dict[str, Any]) -> Response:
    repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
    if repo in hub.repos:
        return 409, {"error": "You already created this model repo"}, {}
    if repo.partition("/")[0] not in ("me", "band"):
        return _forbidden()
    is_private = wanted.get("visibility") == "private" or wanted.get("private") is True
    hub.repos[repo] = Repository(is_private)
    return 200, {"url": f"{hub.url}/{repo}"}, {}


def _validated(content: str) -> Response:
    """Validate a model card as the Hub does: its base must be a repository name."""
    front = re.match(r"---\n(.*?)\n---", content, re.DOTALL)
    data = yaml.safe_load(front[1]) if front else {}
    base = data.get("base_model")
    if base is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        return 400, {"errors": [{"message": '"base_model" must be a repository'}]}, {}
    return 200, {"errors": [], "warnings": []}, {}


def _preupload(repository: Repository, wanted: dict[str, Any]) -> Response:
    files = [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["path"].endswith(_LFS_ENDINGS) else "regular",
            "shouldIgnore": file["path"].endswith(repository.ignored)
            if repository.ignored
            else False,
            "oid": None,
        }
        for file in wanted["files"]
    ]
    return 200, {"files": files}, {}


def _batch(hub: UploadHub, wanted: dict[str, Any]) -> Response:
    objects = []
    for entry in wanted["objects"]:
        address = f"{hub.url}/lfs/{entry['oid']}"
        upload: dict[str, Any] = {"href": f"{address}?signature=secret"}
        if hub.part_bytes is not None:
            numbers = range(1, -(-entry["size"] // hub.part_bytes) + 1)
            urls = {str(number): f"{address}/{number}?signature=secret" for number in numbers}
            upload["header"] = {"chunk_size": str(hub.part_bytes), **urls}
        objects.append({**entry, "actions": {"upload": upload}})
    transfer = "basic" if hub.part_bytes is None else "multipart"
    return 200, {"transfer": transfer, "objects": objects}, {}


def _put(hub: UploadHub, path: str, body: bytes) -> Response:
    _, _, digest, *number = path.split("/")
    if number:
        hub.parts.setdefault(digest, {})[int(number[0])] = body
        return 200, {}, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}
    return _kept(hub, digest, body)


def _completed(hub: UploadHub, path: str, wanted: dict[str, Any]) -> Response:
    """Join the parts that the client lists as sent."""
    digest = path.rpartition("/")[2]
    parts = hub.parts.get(digest, {})
    numbers = [part["partNumber"] for part in wanted["parts"]]
    return _kept(hub, digest, b"".join(parts[number] for number in numbers))


def _kept(hub: UploadHub, digest: str, body: bytes) -> Response:
    if hashlib.sha256(body).hexdigest() != digest:
        return 400, {"error": "the content has another digest"}, {}
    hub.large[digest] = body
    return 200, {}, {}


def _commit(hub: UploadHub, repo: str, repository: Repository, body: bytes) -> Response:
    for line in map(json.loads, body.decode().splitlines()):
        value = line["value"]
        if line["key"] == "header":
            repository.messages.append(value["summary"])
        elif line["key"] == "file":
            repository.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            if value["oid"] not in hub.large:
                return 400, {"error": "the content of a file has not arrived"}, {}
            repository.files[value["path"]] = hub.large[value["oid"]]
    repository.n_commits += 1
    url = f"{hub.url}/{repo}/commit/{COMMIT}"
    return 200, {"commitUrl": url, "commitOid": COMMIT}, {}
