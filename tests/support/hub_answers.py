"""Answers of a fake Hugging Face Hub: repositories, paged searches, files and byte ranges."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from tests.support.fake_hub import FakeHub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_JSON = {"Content-Type": "application/json"}
_REPO = re.compile(
    r"/api/models/(?P<api>[^/]+/[^/]+)(?:/(?P<part>revision|tree)/(?P<rev>[^/]+))?\Z"
    r"|/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)\Z"
)
_SORTS = {"downloads": "downloads", "likes": "likes", "lastModified": "lastModified"}
_DEFAULT_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


def answer_to(
    hub: FakeHub, path: str, query: Mapping[str, Sequence[str]], is_known: bool, asked: str
) -> Answer:
    """Answer a GET or HEAD of `path`.

    `is_known` says whether the token may see private and gated repositories.
    """
    if path == "/api/models":
        return _search(hub, query, is_known)
    match = _REPO.match(path)
    if match is None:
        return Answer(404)
    repo = match["api"] or match["repo"]
    if repo in hub.broken:
        return Answer(500)
    files = hub.repos.get(repo)
    if files is None and repo in hub.gated:
        return _closed()
    if files is None or (repo in hub.private and not is_known):
        # The Hub's answer to those who may not know whether a repository exists.
        return Answer(401, {"X-Error-Code": "RepoNotFound"})
    revision = match["rev"] or match["revision"] or "main"
    commit = hub.commits.get(repo, COMMIT)
    if revision not in ("main", commit):
        return Answer(404, {"X-Error-Code": "RevisionNotFound"})
    is_closed = repo in hub.gated and not is_known
    if match["part"] == "tree":
        return _closed() if is_closed else Answer(200, _JSON, _dumped(_tree(files)))
    if match["api"]:
        return Answer(200, _JSON, _dumped(_facts(hub, repo)))
    if is_closed and match["file"] != "README.md":
        return _closed()
    content = files.get(match["file"])
    if content is None:
        return Answer(404, {"X-Error-Code": "EntryNotFound"})
    return _file(content, asked, commit)


def _closed() -> Answer:
    return Answer(403, {"X-Error-Code": "GatedRepo"})


def _file(content: bytes, asked: str, commit: str) -> Answer:
    etag = hashlib.sha256(content).hexdigest()
    headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    if found is None:
        return Answer(200, headers, content)
    first = int(found[1])
    last = min(int(found[2]) if found[2] else len(content) - 1, len(content) - 1)
    if first >= len(content):
        return Answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Answer(206, headers, content[first : last + 1])


def _tree(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "type": "file",
            "path": name,
            "size": len(data),
            "oid": hashlib.sha1(data).hexdigest(),
        }
        for name, data in files.items()
    ]


def _facts(hub: FakeHub, repo: str) -> dict[str, Any]:
    files = hub.repos[repo]
    return {
        "id": repo,
        "sha": hub.commits.get(repo, COMMIT),
        "gated": "auto" if repo in hub.gated else False,
        "private": repo in hub.private,
        "siblings": [_sibling(name, data) for name, data in files.items()],
        "usedStorage": sum(map(len, files.values())),
        **hub.facts.get(repo, {}),
    }


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    """Describe a file; for a large one, held by Git LFS, include its SHA-256."""
    told: dict[str, Any] = {"rfilename": name, "size": len(data)}
    if name.endswith((".gguf", ".safetensors", ".bin", ".npz")):
        digest = hashlib.sha256(data).hexdigest()
        told["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
    return told


def _search(hub: FakeHub, query: Mapping[str, Sequence[str]], is_known: bool) -> Answer:
    filters = query.get("filter", ())
    words = " ".join(query.get("search", ())).lower().split()
    found = []
    for repo in list(hub.repos):
        facts = _facts(hub, repo)
        is_meant = all(text in facts.get("tags", ()) for text in filters)
        is_seen = repo not in hub.private or is_known
        if is_meant and is_seen and all(word in repo.lower() for word in words):
            found.append(facts)
    key = _SORTS.get("".join(query.get("sort", ())), "downloads")
    found.sort(key=lambda facts: facts.get(key) or type(facts.get(key) or 0)(), reverse=True)
    limit = int("".join(query.get("limit", ())) or _DEFAULT_LIMIT)
    start = int("".join(query.get("cursor", ())) or 0)
    headers = dict(_JSON)
    if start + limit < len(found):
        again = {**query, "cursor": [str(start + limit)]}
        address = f"{hub.url}/api/models?{urlencode(again, doseq=True)}"
        headers["Link"] = f'<{address}>; rel="next"'
    return Answer(200, headers, _dumped(found[start : start + limit]))


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode()
