"""Search the Hugging Face Hub for adapters by base model and by words.

Results are yielded page by page, as they arrive. Fields missing from an answer count as unknown,
not as errors: the Hub's answers differ by repository and by year.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Final, Literal

from engine.adapters.foreign.find import MLX_WEIGHTS, PEFT_WEIGHTS, newest_of_mlx
from engine.adapters.foreign.peft.config import CONFIG
from engine.hub.client.adapter_files import adapter_choices
from engine.hub.client.errors import search_explained
from engine.hub.client.gguf_files import HubFile
from engine.hub.client.http import get
from engine.hub.client.info import texts_of
from engine.hub.search.base_names import BaseIdentity

Sort = Literal["downloads", "likes", "recent"]
_SORTS: Final = {"downloads": "downloads", "likes": "likes", "recent": "lastModified"}
_EXPANDED: Final = (
    *("author", "cardData", "downloads", "gated", "lastModified", "library_name", "likes"),
    *("private", "sha", "siblings", "tags", "usedStorage"),
)
PAGE_SIZE: Final = 50
"""Repositories per page; the first rows appear with the first page."""
MAX_ALIASES: Final = 8
"""Most names of a base asked for; each needs its own request, because the Hub ANDs filters."""
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class RepositoryKind(StrEnum):
    """What a repository holds, judged by its file names."""

    GGUF = "GGUF LoRA"
    PEFT = "PEFT"
    MLX = "MLX"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository in a search result; fields missing from the answer are None."""

    name: str
    """`user/repo`."""
    kind: RepositoryKind
    files: tuple[str, ...] = ()
    downloads: int | None = None
    """Downloads in the last 30 days."""
    likes: int | None = None
    modified: datetime | None = None
    size_bytes: int | None = None
    """Storage the repository uses (`usedStorage`)."""
    license: str | None = None
    is_gated: bool = False
    is_private: bool = False
    base_models: tuple[str, ...] = ()
    """The base models its card names."""
    sha: str | None = None
    """Commit of the newest revision."""


def search_adapters(
    query: str = "",
    base: BaseIdentity | None = None,
    *,
    limit: int = 100,
    sort: Sort = "downloads",
) -> Iterator[Repository]:
    """Yield adapters for a base that match `query`, as they arrive, at most `limit`.

    With a base, each of its repository names (at most `MAX_ALIASES`) is searched in parallel, and
    duplicates are dropped; without, only repositories tagged `lora` are searched. Within a page
    the order is the Hub's.

    Raises:
        HubError: The Hub cannot be reached, refuses, or answers with invalid data. If only some of
            a base's names fail, raised after the results of the others.
    """
    names = base.repositories[:MAX_ALIASES] if base is not None else ()
    filters = [f"base_model:adapter:{name}" for name in names] or ["lora"]
    seen: set[str] = set()
    for repository in _interleaved(filters, query, limit, sort):
        if repository.name not in seen:
            seen.add(repository.name)
            yield repository
        if len(seen) >= limit:
            return


def _interleaved(
    filters: Sequence[str], query: str, limit: int, sort: Sort
) -> Iterator[Repository]:
    """Run one search per filter in threads and yield their results in order of arrival."""
    arrived: SimpleQueue[list[Repository] | Exception | None] = SimpleQueue()
    is_over = Event()

    def ask(filter_: str) -> None:
        try:
            for page in _pages(filter_, query, limit, sort):
                arrived.put(page)
                if is_over.is_set():
                    return
            arrived.put(None)
        except Exception as error:  # raised in the caller's thread
            arrived.put(error)

    for filter_ in filters:
        Thread(target=ask, args=(filter_,), name=f"search {filter_}", daemon=True).start()
    n_asking = len(filters)
    failure: Exception | None = None
    try:
        while n_asking:
            page = arrived.get()
            if isinstance(page, list):
                yield from page
                continue
            n_asking -= 1
            failure = failure or page
    finally:
        is_over.set()
    if failure is not None:  # after the results of the other searches
        raise failure


def _pages(filter_: str, query: str, limit: int, sort: Sort) -> Iterator[list[Repository]]:
    params: dict[str, Any] | None = {
        "filter": filter_,
        "sort": _SORTS[sort],
        "limit": min(limit, PAGE_SIZE),
        "expand": list(_EXPANDED),
        **({"search": query.strip()} if query.strip() else {}),
    }
    n_found = 0
    with search_explained():
        from huggingface_hub import constants

        address: str | None = f"{constants.ENDPOINT}/api/models"
        while address is not None:
            answer = get(address, params=params)
            document = answer.json()
            if not isinstance(document, list):
                raise ValueError("the answer is no list")
            page = list(repositories_of(document))
            yield page
            n_found += len(page)
            # An empty page is the last one, even if it links to a next page.
            if n_found >= limit or not document:
                return
            # The next page's URL already contains the parameters.
            address, params = answer.next_page, None


def repositories_of(page: Any) -> Iterator[Repository]:
    """Yield the repositories on a page of the Hub's answer; skip entries without a valid name."""
    for item in page if isinstance(page, list) else ():
        if isinstance(item, Mapping):
            name = item.get("id") or item.get("modelId")
            if isinstance(name, str) and _NAME.fullmatch(name) and ".." not in name:
                yield _repository(name, item)


def _repository(name: str, item: Mapping[str, Any]) -> Repository:
    card = item.get("cardData")
    card = card if isinstance(card, Mapping) else {}
    files = tuple(_file_names(item.get("siblings")))
    return Repository(
        name=name,
        kind=kind_of(files),
        files=files,
        downloads=_count(item.get("downloads")),
        likes=_count(item.get("likes")),
        modified=_time(item.get("lastModified")),
        size_bytes=_count(item.get("usedStorage")),
        license=_license(card, item.get("tags")),
        is_gated=bool(item.get("gated")),
        is_private=item.get("private") is True,
        base_models=texts_of(card.get("base_model")),
        sha=sha if isinstance(sha := item.get("sha"), str) else None,
    )


def kind_of(files: Sequence[str]) -> RepositoryKind:
    """Return what a repository holds, judged by its file names.

    A GGUF beside PEFT files counts as an adapter already converted; a GGUF alone may be a model.
    """
    names = {file.rpartition("/")[2].lower() for file in files}
    if any(name.endswith(".gguf") for name in names):
        return RepositoryKind.GGUF
    folders = adapter_choices(HubFile(file, 0) for file in files)
    if folders and all(choice.missing for choice in folders):
        return RepositoryKind.UNKNOWN
    if names & {*MLX_WEIGHTS} or newest_of_mlx(names):
        return RepositoryKind.MLX
    if names & {CONFIG, *PEFT_WEIGHTS} or folders:
        return RepositoryKind.PEFT
    return RepositoryKind.UNKNOWN


def _file_names(siblings: Any) -> Iterator[str]:
    for sibling in siblings if isinstance(siblings, list) else ():
        name = sibling.get("rfilename") if isinstance(sibling, Mapping) else None
        if isinstance(name, str):
            yield name


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _license(card: Mapping[str, Any], tags: Any) -> str | None:
    if isinstance(named := card.get("license"), str):
        return named
    prefix = "license:"
    found = (t for t in tags or () if isinstance(t, str) and t.startswith(prefix))
    return next(found, "").removeprefix(prefix) or None
