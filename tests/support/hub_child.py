"""A child process that uses a test's hub through the real client, in many steps.

huggingface_hub reads HF_ENDPOINT on import, which takes a second. So all tests of a module share
one process, which reads each step as a line of JSON, with its own cache, home and token.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from engine.errors import Cancelled
from tests.support.command_line import Ended, environment
from tests.support.fake_hub import FakeHub, serving


class HubChild:
    """The child process and the folder that its steps work in."""

    def __init__(self, process: subprocess.Popen[str], hub: FakeHub, folder: Path) -> None:
        self._process = process
        self.hub = hub
        self.folder = folder
        """Holds `cache` and `home`; tests may replace it by their own folder."""

    def ask(self, do: str, *, token: str = "", endpoint: str = "", **given: Any) -> Any:
        """Run one step in the process, one of `STEPS`, and return its result.

        `endpoint` replaces the address of the process's hub.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        (self.folder / "home").mkdir(exist_ok=True)
        step = {
            "do": do,
            "token": token,
            "endpoint": endpoint or self.hub.url,
            "folder": str(self.folder),
            "given": given,
        }
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process ended with {self._process.wait()}"
        return json.loads(answer)

    def tui(self, *arguments: str, token: str = "", endpoint: str = "", stdin: str = "") -> Ended:
        """Run a command of `tui` in the folder, with its home there."""
        code, out, err = self.ask(
            "tui", arguments=arguments, stdin=stdin, token=token, endpoint=endpoint
        )
        return Ended(code, out, err)

    def pulled(self) -> list[dict[str, Any]]:
        """Return the output of `tui list --adapters --json`."""
        ended = self.tui("list", "--adapters", "--json")
        assert (ended.code, ended.err) == (0, "")
        records: list[dict[str, Any]] = json.loads(ended.out)
        return records


@contextmanager
def serving_child(folder: Path) -> Iterator[HubChild]:
    """Serve a hub and start a child process for it; both end with the block."""
    with (
        serving() as hub,
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.hub_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment(folder / "home"), **hub.environment(folder / "cache")},
            text=True,
        ) as process,
    ):
        yield HubChild(process, hub, folder)


def _pull(folder: Path, reference: str, cancel_at: int = -1, full_at: int = -1) -> dict[str, Any]:
    """Pull an adapter; the disk is full once `full_at` bytes are written."""
    from engine.errors import HubError
    from engine.hub.pull.adapter import pull_adapter
    from modelfiles.references.hub import HubReference

    steps: list[list[int]] = []
    parsed = HubReference.parse(reference, "adapter")
    assert parsed is not None
    told: dict[str, Any]
    try:
        with _full_disk(full_at):
            record = pull_adapter(
                parsed,
                folder / "home",
                on_bytes=lambda done, total: steps.append([done, total]),
                is_cancelled=lambda: 0 <= cancel_at <= len(steps),
            )
        told = {"name": record.name, "path": record.path, "kind": record.kind}
        told["rev"] = record.revision
    except HubError as error:
        told = {"error": str(error)}
    except Cancelled:
        told = {"cancelled": True}
    return {**told, "steps": steps}


def _model(folder: Path, reference: str) -> dict[str, Any]:
    """Pull a reference, which must be a model."""
    from engine.errors import HubError
    from engine.hub.pull.model import RemoteModel, look_up_either, pull_model
    from modelfiles.references.hub import HubReference

    parsed = HubReference.parse(reference, "adapter")
    assert parsed is not None
    try:
        remote = look_up_either(parsed, folder / "home")
        if not isinstance(remote, RemoteModel):
            return {"adapter": remote.choice.weights.path}
        pulled = pull_model(remote, folder / "home")
    except HubError as error:
        return {"error": str(error)}
    return {"name": pulled.listed.name, "base": str(pulled.base), "is_new": pulled.is_new}


def _fit(folder: Path, reference: str, base: str, full_at: int = -1) -> list[Any]:
    from engine.errors import HubError
    from engine.gguf.model_header import require_base
    from engine.hub.pull.adapter import look_up
    from engine.hub.search.fit import fit_of
    from modelfiles.references.hub import HubReference

    parsed = HubReference.parse(reference, "adapter")
    assert parsed is not None
    try:
        remote = look_up(parsed)
        with _full_disk(full_at):
            fit = fit_of(remote.repo, remote.choice, remote.revision, require_base(Path(base)))
    except HubError as error:
        return ["error", str(error), 0]
    return [fit.verdict, fit.reason, fit.n_fetched]


def _search(folder: Path, query: str, names: list[str], limit: int, sort: Any) -> list[Any]:
    from engine.errors import HubError
    from engine.hub.search.base_names import BaseIdentity
    from engine.hub.search.search import search_adapters

    base = BaseIdentity("base", tuple(names)) if names else None
    found: list[Any] = []
    try:
        for row in search_adapters(query, base, limit=limit, sort=sort):
            found.append([row.name, row.kind, row.downloads, row.is_gated])
    except HubError as error:
        found.append(f"refused: {error}")
    return found


def _tui(folder: Path, arguments: list[str], stdin: str = "") -> list[Any]:
    """Run a command in this process, which takes 0.6 s less than a new one."""
    from tui.cli import main

    out, err = io.StringIO(), io.StringIO()
    outer, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin.encode()))
    os.environ["LORA_TUI_HOME"] = str(folder / "home")
    os.chdir(folder)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(arguments)
    finally:
        sys.stdin = outer
    return [int(code), out.getvalue(), err.getvalue()]


def _library(folder: Path, query: str, base: str, reference: str) -> list[Any]:
    """Search and pull as a script does, with the record below the default home."""
    from engine.api import pull_adapter, search_adapters

    os.environ["LORA_TUI_HOME"] = str(folder / "home")
    names = [found.name for found in search_adapters(query, base=base)]
    record = pull_adapter(reference)
    return [names, record.name, record.path]


def _loaded(folder: Path) -> list[str]:
    """Return the top-level packages that earlier steps imported."""
    return sorted({name.partition(".")[0] for name in sys.modules})


def _peak(folder: Path) -> int:
    """Return the peak resident memory of the process so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _full_disk(full_at: int) -> Iterator[None]:
    """Limit files of this process to `full_at` bytes, to simulate a full disk."""
    if full_at < 0:
        yield
        return
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (full_at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


STEPS: dict[str, Callable[..., Any]] = {
    "pull": _pull,
    "model": _model,
    "fit": _fit,
    "search": _search,
    "tui": _tui,
    "library": _library,
    "loaded": _loaded,
    "peak": _peak,
}


def _main() -> None:
    import huggingface_hub.utils._http as client_http
    from huggingface_hub import constants

    # The client waits up to 8 s before a retry.
    client_http.time.sleep = lambda _: None  # type: ignore[attr-defined,assignment]
    for line in sys.stdin:
        step = json.loads(line)
        folder = Path(step["folder"])
        constants.ENDPOINT = step["endpoint"]
        constants.HF_HUB_CACHE = str(folder / "cache" / "hub")
        os.environ.pop("HF_TOKEN", None)
        if step["token"]:
            os.environ["HF_TOKEN"] = step["token"]
        told = STEPS[step["do"]](folder, **step["given"])
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _main()
