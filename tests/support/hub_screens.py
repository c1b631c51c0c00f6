"""Open adapters of a loopback hub in the chat, and pause their downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.hub.pull import fetch as fetch_module
from modelfiles.model import Model
from tests.support.chat import tiny_model, wait_until
from tests.support.fake_hub import FakeHub, serving
from tests.support.hub_in_process import point_at
from tests.support.hub_shelf import fill, write_named_base
from tui.chat.app import ChatApp
from tui.chat.hub.adapter_screen import HubAdapterScreen
from tui.chat.hub.rows import HubRows
from tui.chat.hub.search_screen import HubScreen


@contextmanager
def loopback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Serve a hub for this process, with all state in `folder`."""
    monkeypatch.setenv("LORA_TUI_HOME", str(folder / "home"))
    with serving() as hub:
        point_at(hub, folder / "cache", monkeypatch)
        yield hub


def model_on(hub: FakeHub, folder: Path, *, n_others: int = 0) -> Model:
    """Fill the hub with adapters for a base that it knows; return a model of that base."""
    model = tiny_model(folder, "pirate")
    write_named_base(model.base)
    fill(hub, folder, model.base, n_others=n_others)
    return model


async def looked_at(app: ChatApp, pilot: Pilot[int], repo: str) -> HubAdapterScreen:
    """Open the details of a repository and wait until they are complete."""
    if app.screen is app.chat:
        await pilot.press("ctrl+f")
    await wait_until(pilot, lambda: isinstance(app.screen, HubScreen), "the search")
    search = app.screen
    assert isinstance(search, HubScreen)
    search.query_one(Input).value = repo
    rows = search.query_one(HubRows)
    await wait_until(
        pilot, lambda: rows.selected is not None and rows.selected.name == repo, "the row"
    )
    await pilot.press("enter")
    await wait_until(pilot, lambda: isinstance(app.screen, HubAdapterScreen), "the details")
    screen = app.screen
    assert isinstance(screen, HubAdapterScreen)
    await wait_until(pilot, lambda: screen.is_complete, "the verdict")
    await pilot.pause()
    return screen


def line(screen: HubAdapterScreen, name: str) -> str:
    """Return the text of one part of the details."""
    return str(screen.query_one(f"#hub-{name}", Static).content)


def added(app: ChatApp) -> tuple[str, float, bool]:
    """Return name and scale of the last adapter in the rack, and whether it is on."""
    entry = app.chat.session.mix.stack.entries[-1]
    return entry.adapter.name, entry.scale, entry.is_active


def leftovers(folder: Path) -> list[str]:
    """Return the names of incomplete files that downloads left."""
    cache = folder / "cache"
    return [path.name for path in cache.rglob("*.incomplete")] if cache.exists() else []


class SlowFetch:
    """A download that pauses after its first bytes until `may_go_on` is set."""

    def __init__(self) -> None:
        self.is_reached, self.may_go_on, self.has_ended = (threading.Event() for _ in range(3))

    def __call__(
        self,
        repo: str,
        revision: str,
        files: Sequence[Any],
        on_bytes: fetch_module.OnBytes,
        is_cancelled: Any,
        **options: Any,
    ) -> list[Path]:
        def told(done: int, total: int) -> None:
            on_bytes(done, total)
            if done:
                return
            on_bytes(total // 4, total)
            self.is_reached.set()
            assert self.may_go_on.wait(60)

        try:
            return fetch_module.fetch(repo, revision, files, told, is_cancelled, **options)
        finally:
            self.has_ended.set()
