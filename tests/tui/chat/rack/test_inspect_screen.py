"""The screen of inspections: opened from the rack, filled step by step, left at any time."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from engine.adapters.inspection.base_norms import BaseNorms
from engine.adapters.inspection.inspect import Inspection, measured
from engine.errors import Cancelled
from engine.gguf.ggml_type import GgmlType
from engine.gguf.weights import Bytes, Floats, decoded
from modelfiles.model import Model
from tests.support.chat import chat, notices, screen_text, tiny_model, wait_until
from tests.support.dense_delta import deltas_of, tensors_of
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_models import write_adapter
from tui.chat.app import ChatApp
from tui.chat.rack.inspect_screen import InspectScreen

Q = "blk.0.attn_q.weight"


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path, "pirate", "formal", "shout", scale=0.5)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine([["Yes."]])


async def opened(app: ChatApp, pilot: Pilot[int], *keys: str) -> InspectScreen:
    """Open the screen from the rack and wait until nothing is left to compute."""
    await pilot.press("tab", *keys, "i")
    await wait_until(pilot, lambda: isinstance(app.screen, InspectScreen), "the screen")
    screen = app.screen
    assert isinstance(screen, InspectScreen)
    await wait_until(pilot, lambda: screen.is_complete, "everything is computed")
    await pilot.pause()
    return screen


def body(screen: InspectScreen) -> list[str]:
    """Return the lines of the page, also those out of sight, with single blanks."""
    content = screen.query_one("#inspect-body").content
    return [" ".join(line.split()) for line in content.plain.splitlines()]


def numbers(screen: InspectScreen) -> list[float]:
    """Return the numbers of the first layer."""
    row = next(line for line in body(screen) if re.match(r"0( \d+\.?\d*){8}$", line))
    return [float(number) for number in row.split()[1:]]


async def test_it_shows_the_selected_adapter_with_norms_relative_to_the_base(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model, (100, 60)) as (app, pilot):
        screen = await opened(app, pilot, "down")
        formal = model.adapters[1].path
        assert any(line.startswith(f"file {formal}"[:40]) for line in body(screen))
        for line in (
            "rank 4",
            "alpha 8",
            "scaling 2",
            "used at scale 0.5",
            "description Is formal.",
        ):
            assert line in body(screen)
        assert "fits this base: 18 of 18 rules hold" in body(screen)
        delta = deltas_of([(formal, 1.0)])[Q]
        share = np.linalg.norm(delta) / np.linalg.norm(tensors_of(model.base)[Q])
        assert numbers(screen)[0] == pytest.approx(100 * share, rel=1e-2)
        assert "Frobenius norms at scale 1" in screen_text(app)


async def test_a_fact_that_is_too_long_goes_on_below_its_value(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model, (60, 60)) as (app, pilot):
        await opened(app, pilot)
        lines = screen_text(app).splitlines()
        place = next(index for index, line in enumerate(lines) if " changes " in line)
        column = re.search(r"changes +", lines[place])
        assert column is not None
        first, second = (line[column.end() :] for line in lines[place : place + 2])
        assert second[0] != " "
        assert not lines[place + 1][column.start() : column.end()].strip()
        assert first.startswith("14 tensors in 2 layers")


async def test_arrows_move_between_adapters_and_escape_goes_back_to_the_rack(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        for key, name in (("right", "formal"), ("right", "shout"), ("right", "pirate")):
            await pilot.press(key)
            assert f"description Is {name}." in body(screen)
        await pilot.press("left")
        assert "description Is shout." in body(screen)
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        assert app.focused is app.chat.query_one("#rack")


async def test_with_two_adapters_their_overlap_is_told(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        screen = await opened(app, pilot)
        text = " ".join(body(screen))
        assert "pirate and formal hardly overlap (cosine" in text
        assert "pirate and shout hardly overlap" in text
        assert "formal and shout" not in text
        await pilot.press("right")
        assert "formal and shout hardly overlap" in " ".join(body(screen))


async def test_a_single_adapter_has_no_overlap(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with chat(engine, tiny_model(tmp_path, "pirate")) as (app, pilot):
        assert "Overlap" not in " ".join(body(await opened(app, pilot)))


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (40, 12)])
async def test_everything_can_be_scrolled_to_on_a_small_terminal(
    engine: ScriptedEngine, model: Model, size: tuple[int, int]
) -> None:
    async with chat(engine, model, size) as (app, pilot):
        screen = await opened(app, pilot)
        scroll = screen.query_one("#inspect-scroll")
        seen = [screen_text(app)]
        assert "description" in seen[0]
        while scroll.scroll_offset.y < scroll.max_scroll_y:
            await pilot.press("pagedown")
            await pilot.pause()
            seen.append(screen_text(app))
        for part in ("fits this base", "layer", "Overlap", "attn_output", "parameters"):
            assert any(part in text for text in seen), part
        await pilot.press("up", *["pageup"] * len(seen))
        await pilot.pause()
        assert scroll.scroll_offset.y == 0


async def test_an_adapter_that_has_gone_is_told_and_the_others_are_shown(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        model.adapters[0].path.unlink()
        screen = await opened(app, pilot)
        assert "does not exist" in " ".join(body(screen))
        await pilot.press("right")
        assert "fits this base: 18 of 18 rules hold" in body(screen)
        assert "formal and shout hardly overlap" in " ".join(body(screen))


async def test_a_base_that_has_gone_is_told(engine: ScriptedEngine, model: Model) -> None:
    async with chat(engine, model) as (app, pilot):
        model.base.unlink()
        screen = await opened(app, pilot)
        assert "does not exist" in " ".join(body(screen))


async def test_a_base_that_cannot_be_read_to_the_end_leaves_what_is_known(
    engine: ScriptedEngine, model: Model
) -> None:
    def decode(data: Bytes, type_: GgmlType, row_length: int) -> Floats:
        model.base.touch()
        return decoded(data, type_, row_length)

    async with chat(engine, model) as (app, pilot):
        engine.norms = BaseNorms(decode)
        screen = await opened(app, pilot)
        text = " ".join(body(screen))
        assert "changed while being read" in text
        assert "|delta|, Frobenius norms at scale 1" in text
        assert "pirate and formal hardly overlap" in text


async def test_an_adapter_that_no_longer_fits_says_why(
    engine: ScriptedEngine, model: Model
) -> None:
    async with chat(engine, model) as (app, pilot):
        path = model.adapters[0].path
        write_adapter(path, model.base, seed=9)
        path.write_bytes(path.read_bytes().replace(b"blk.0.attn_q", b"blk.7.attn_q"))
        screen = await opened(app, pilot)
        assert "absent in the base" in " ".join(body(screen))


async def test_an_empty_rack_says_so(engine: ScriptedEngine, tmp_path: Path) -> None:
    async with chat(engine, tiny_model(tmp_path)) as (app, pilot):
        await pilot.press("tab", "i")
        await pilot.pause()
        assert app.screen is app.chat
        assert notices(app) == ["The rack is empty: + adds an adapter."]


class Gate:
    """Decodes once it is opened, and counts what it has decoded."""

    def __init__(self) -> None:
        self.is_reached, self.is_open = Event(), Event()
        self.n_chunks = 0

    def __call__(self, data: Bytes, type_: GgmlType, row_length: int) -> Floats:
        self.n_chunks += 1
        self.is_reached.set()
        self.is_open.wait(60)
        return decoded(data, type_, row_length)


async def test_what_is_known_is_shown_while_the_base_is_being_read(
    engine: ScriptedEngine, model: Model
) -> None:
    gate = Gate()
    async with chat(engine, model) as (app, pilot):
        engine.norms = BaseNorms(gate)
        await pilot.press("tab", "i")
        await wait_until(pilot, gate.is_reached.is_set, "the base is being read")
        await wait_until(pilot, lambda: "reading the base's weights" in screen_text(app), "words")
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        assert not screen.is_complete
        assert "|delta|, Frobenius norms at scale 1" in body(screen)
        assert "pirate and formal hardly overlap" in " ".join(body(screen))
        gate.is_open.set()
        await wait_until(pilot, lambda: screen.is_complete, "the end")
        assert "|delta| / |W| in %, Frobenius norms at scale 1" in body(screen)
        assert "reading" not in screen_text(app)


class Watched(BaseNorms):
    """Tells when a reading has ended, and how many were cut off."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self.has_ended = Event()
        self.n_cancelled = 0

    def of(self, *arguments: Any, **options: Any) -> dict[str, float]:
        try:
            return super().of(*arguments, **options)
        except Cancelled:
            self.n_cancelled += 1
            raise
        finally:
            self.has_ended.set()


async def test_leaving_ends_the_reading_and_coming_back_reads_no_tensor_twice(
    engine: ScriptedEngine, model: Model
) -> None:
    gate = Gate()
    norms = Watched(gate)
    n_tensors = 14  # of one chunk each
    async with chat(engine, model) as (app, pilot):
        engine.norms = norms
        await pilot.press("tab", "i")
        await wait_until(pilot, gate.is_reached.is_set, "the base is being read")
        await pilot.press("escape")
        await wait_until(pilot, lambda: app.screen is app.chat, "the chat")
        gate.is_open.set()
        await wait_until(pilot, norms.has_ended.is_set, "the reading ends")
        assert norms.n_cancelled == 1
        n_cut_off = gate.n_chunks
        assert n_cut_off < n_tensors
        await opened(app, pilot, "tab")
        first_visit = gate.n_chunks
        assert n_tensors <= first_visit <= n_tensors + n_cut_off
        await pilot.press("escape")
        await opened(app, pilot, "tab")
        assert gate.n_chunks == first_visit
        assert "|delta| / |W| in %" in screen_text(app)


async def test_the_adapter_that_is_looked_at_comes_first(
    engine: ScriptedEngine, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    order: list[str] = []

    def spy(inspection: Inspection, *norms: BaseNorms, **options: Any) -> Inspection:
        if norms:
            order.append(inspection.name)
        return measured(inspection, *norms, **options)

    monkeypatch.setattr("engine.worker.adapter_files.measured", spy)
    async with chat(engine, model) as (app, pilot):
        engine.norms = BaseNorms(gate)
        await pilot.press("tab", "down", "i")
        await wait_until(pilot, gate.is_reached.is_set, "the base is being read")
        await pilot.press("right")
        gate.is_open.set()
        await wait_until(pilot, lambda: getattr(app.screen, "is_complete", False), "the end")
    assert order == ["formal", "shout", "pirate"]
