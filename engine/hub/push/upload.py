"""Upload an adapter to the Hugging Face Hub as one commit, through the Hub's own client.

The client finds the token itself (`HF_TOKEN`, `hf auth login`); it goes nowhere else. Nothing is
visible in a repository before the commit, which is the last request that changes it. Only `tui
push` imports this module: the client takes 0.2 s and more to import.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import HubError
from engine.hub.client.http import silenced
from engine.hub.push.publication import CARD, OutgoingFile
from engine.hub.push.upload_errors import NO_TOKEN, explained
from modelfiles.wording import shown

OnFraction = Callable[[str, float], None]

_READ_ONLY: Final = "read"
_FINE_GRAINED: Final = "fineGrained"


@dataclass(frozen=True, slots=True)
class Destination:
    """State of a repository before an upload."""

    repo: str
    """`user/repo`."""
    url: str
    """URL of its page."""
    account: str
    """The account that owns the token."""
    is_there: bool
    is_private: bool
    """Whether it is private; False if it does not exist."""
    files: tuple[str, ...]
    """Paths of the files it holds."""

    @property
    def has_card(self) -> bool:
        """Whether the repository has a card, which an uploaded one would replace."""
        return CARD in self.files


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Result of an upload."""

    url: str
    commit: str
    """Hash of the commit that added the files, in hex."""


def destination(repo: str) -> Destination:
    """Ask the Hub for the state of `user/repo` and whether the token may write there.

    Changes nothing. Raises `HubError` if there is no token, it is refused or may only read, the
    name is invalid or belongs to someone else, or the Hub does not answer.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = HfApi()
    with explained(repo), silenced():
        if constants.HF_HUB_OFFLINE:
            raise HubError(
                f"HF_HUB_OFFLINE forbids to upload to hf.co/{repo}: unset that variable."
            )
        _require_token()
        account = api.whoami()
        name = _require_right(account, repo)
        url = f"{constants.ENDPOINT}/{repo}"
        try:
            info = api.model_info(repo)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return Destination(repo, url, name, False, False, ())
    files = tuple(file.rfilename for file in info.siblings or ())
    return Destination(repo, url, name, True, bool(info.private), files)


def upload(
    target: Destination,
    files: Sequence[OutgoingFile],
    card: str | None,
    *,
    is_private: bool,
    message: str,
    on_progress: OnFraction,
) -> Uploaded:
    """Upload files, and a card if given, as one commit; create the repository if it is missing.

    `is_private` applies only to a repository created here. `on_progress` receives a title and the
    fraction of bytes done, from 0 to 1. Raises `HubError`; if that happens before the commit,
    nothing of the upload is visible, and at most an empty repository was created.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    total_bytes = max(sum(file.size_bytes for file in files), 1)
    with explained(target.repo), silenced():
        operations = []
        streams = []
        before = 0
        try:
            for file in files:
                stream = _Stream(file.path, before, total_bytes, on_progress)
                streams.append(stream)
                stream.title = f"reading {file.name}"
                operation = CommitOperationAdd(file.name, stream)
                if operation.upload_info.sha256.hex() != file.sha256:
                    raise HubError(
                        f"{shown(str(file.path))} has changed since it was checked: run the "
                        "command again."
                    )
                stream.title = f"uploading to hf.co/{target.repo}"
                operations.append(operation)
                before += file.size_bytes
            if card is not None:
                operations.append(CommitOperationAdd(CARD, card.encode()))
            _make(api, target, is_private=is_private)
            commit = api.create_commit(
                target.repo, operations, commit_message=message, repo_type="model"
            )
        finally:
            for stream in streams:
                stream.close()
    on_progress(f"uploading to hf.co/{target.repo}", 1.0)
    oid = str(commit.oid)
    _require_arrived(api, target.repo, [o.path_in_repo for o in operations], oid)
    return Uploaded(target.url, oid)


class _Stream(io.BufferedReader):
    """A file that reports reads; the client reads it once to hash it and once to send it."""

    def __init__(self, path: Path, before: int, total_bytes: int, on_progress: OnFraction) -> None:
        super().__init__(path.open("rb", buffering=0))
        self.title = ""
        self._before = before
        self._total_bytes = total_bytes
        self._on_progress = on_progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read from the file and report the position."""
        data = super().read(size)
        self._on_progress(self.title, (self._before + self.tell()) / self._total_bytes)
        return data


def _require_token() -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise HubError(NO_TOKEN)


def _require_right(account: dict[str, Any], repo: str) -> str:
    """Return the account's name; raises `HubError` if it certainly cannot write to `repo`."""
    name = str(account.get("name", ""))
    auth = account.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    role = token.get("role") if isinstance(token, dict) else None
    if role == _READ_ONLY:
        raise HubError(
            f"The token of {shown(name)} may only read: make one with the right to write at "
            "https://huggingface.co/settings/tokens, then set HF_TOKEN or run 'hf auth login'."
        )
    owner = repo.partition("/")[0]
    orgs = [str(org.get("name", "")) for org in account.get("orgs") or () if isinstance(org, dict)]
    # A fine-grained token may not list the organisations that it can write to.
    if role != _FINE_GRAINED and owner.lower() not in (known.lower() for known in (name, *orgs)):
        raise HubError(
            f"hf.co/{repo} belongs to {shown(owner)}, and the token to {shown(name)}: push to "
            f"hf.co/{name}/{repo.partition('/')[2]}, or log in as {shown(owner)}."
        )
    return name


def _make(api: Any, target: Destination, *, is_private: bool) -> None:
    """Create the repository if it does not exist, with the visibility the user confirmed."""
    if target.is_there:
        return
    # With exist_ok the client would accept a repository created meanwhile, which may be public.
    api.create_repo(target.repo, repo_type="model", private=is_private, exist_ok=False)
    if is_private and not api.model_info(target.repo).private:
        raise HubError(
            f"The Hub made hf.co/{target.repo} public although it was to be private: nothing was "
            f"uploaded; see its settings at {target.url}/settings."
        )


def _require_arrived(api: Any, repo: str, paths: Sequence[str], commit: str) -> None:
    """Raise `HubError` if the commit lacks a file: the client omits files a .gitignore excludes.

    If the Hub cannot be asked, the confirmed commit is trusted.
    """
    there: set[str] | None = None
    with suppress(Exception), silenced():  # HTTP, JSON or network errors; the commit stands
        there = {info.path for info in api.get_paths_info(repo, list(paths), revision=commit)}
    missing = [path for path in paths if there is not None and path not in there]
    if missing:
        raise HubError(
            f"hf.co/{repo} was committed to without {', '.join(map(shown, missing))}: a .gitignore "
            "of the repository excludes it; correct that and run the command again."
        )
