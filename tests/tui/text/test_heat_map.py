"""A heat map fits its width, shades by size, and tells in words what the shades mean."""

from __future__ import annotations

import io
import re

import pytest

from engine.adapters.inspection.norm_grid import NormGrid
from tui.terminal.shading import Ink, ink_for, map_lines
from tui.text.heat_map import HeatMap, heat_map

SEVEN = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def grid(
    n_layers: int = 2,
    modules: tuple[str, ...] = SEVEN,
    peak: float = 0.0153,
    *,
    is_relative: bool = True,
    others: tuple[tuple[str, float | None], ...] = (),
) -> NormGrid:
    """Return a grid whose values grow evenly up to `peak` in the last place."""
    n = n_layers * len(modules)
    cells = tuple(
        tuple(peak * (i * len(modules) + j + 1) / n for j in range(len(modules)))
        for i in range(n_layers)
    )
    return NormGrid(
        is_relative=is_relative,
        layers=tuple(range(n_layers)),
        modules=modules,
        cells=cells,
        by_layer=(peak,) * n_layers,
        by_module=(peak,) * len(modules),
        others=others,
        total=peak,
    )


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "UTF-8"

    def isatty(self) -> bool:
        return True


def levels(heat: HeatMap) -> list[float | None]:
    return [cell.level for panel in heat.panels for row in panel.rows for cell in row.cells]


def test_seven_modules_and_eighty_layers_fit_in_eighty_columns() -> None:
    lines = map_lines(heat_map(grid(80), 76), Ink.CHARACTERS)
    assert max(map(len, lines)) <= 76
    assert [line.split()[0] for line in lines if re.match(r" *\d+ ", line)][:80] == [
        str(layer) for layer in range(80)
    ]


@pytest.mark.parametrize("width", [20, 45, 50, 76, 200])
def test_wide_models_are_cut_into_panels_of_the_width(width: int) -> None:
    modules = tuple(f"ssm_{name}" for name in ("in", "out", "dt", "conv1d", "alpha_beta_gates"))
    wide = grid(3, (*SEVEN, *modules))
    heat = heat_map(wide, width)
    assert all(len(p.heading) <= max(width, 25) for p in heat.panels)
    names = [name for panel in heat.panels for name in panel.heading.split()]
    shown = [name for name in names if name not in ("layer", "all")]
    assert len(shown) == len(modules) + len(SEVEN)
    assert [len(panel.rows) for panel in heat.panels] == [4] * len(heat.panels)


def test_a_field_is_as_dark_as_its_share_of_the_largest() -> None:
    heat = heat_map(grid(1, ("attn_q", "attn_k")), 76)
    assert levels(heat)[:2] == pytest.approx([0.5, 1.0])
    assert [cell.text.strip() for cell in heat.panels[0].rows[0].cells] == ["0.77", "1.53"]
    assert (heat.lowest, heat.highest, heat.unit) == ("0.77", "1.53", " %")


@pytest.mark.parametrize(
    ("peak", "shown", "note"),
    [
        (1234.0, "1234", ""),
        (12.34, "12.3", ""),
        (0.0123, "0.012", ""),
        (1.234e-7, "1.23", "in units of 1e-07"),
        (5.0e7, "5.00", "in units of 1e+07"),
        (0.0, "0.00", ""),
    ],
)
def test_numbers_of_any_size_keep_their_column(peak: float, shown: str, note: str) -> None:
    heat = heat_map(grid(1, ("attn_q",), peak, is_relative=False), 76)
    (cell,) = heat.panels[0].rows[0].cells
    assert (cell.text.strip(), len(cell.text)) == (shown, 8)
    assert note in heat.title
    assert heat.unit == ""


def test_tensors_outside_the_layers_have_lines_of_their_own() -> None:
    heat = heat_map(grid(others=(("token_embd", 0.01), ("output", None))), 76)
    lines = map_lines(heat, Ink.CHARACTERS)
    assert any(line.startswith("token_embd") and line.endswith("1.00") for line in lines)
    assert any(line.startswith("output") and line.endswith("·") for line in lines)


def test_names_that_would_be_equal_without_their_beginning_keep_it() -> None:
    panel = heat_map(grid(1, ("attn_gate", "ffn_gate")), 76).panels[0]
    assert panel.heading.split() == ["layer", "attn_gate", "ffn_gate", "all"]


@pytest.mark.parametrize("ink", Ink)
def test_every_ink_has_the_same_numbers_in_the_same_columns(ink: Ink) -> None:
    lines = [ESCAPE.sub("", line) for line in map_lines(heat_map(grid(), 76), ink)]
    first = next(line for line in lines if line.lstrip().startswith("0 "))
    assert re.findall(r"\d\.\d\d", first)[0] == "0.11"
    assert [m.end() for m in re.finditer(r"\d\.\d\d", first)][:7] == [13 + 8 * i for i in range(7)]
    assert "1.53 %" in lines[-1]
    assert "lowest 0.11 %" in lines[-1]


def test_darker_fields_have_other_colours_shades_and_characters() -> None:
    heat = heat_map(grid(1, ("attn_q", "attn_k", "attn_v")), 76)
    for ink in Ink:
        row = map_lines(heat, ink)[3]
        colours = re.findall(r"\x1b\[48;5;(\d+)", row)
        assert len(set(colours or row[6:30:8])) == 3, row


@pytest.mark.parametrize(
    ("environ", "ink"),
    [
        ({"TERM": "xterm-256color"}, Ink.COLOUR),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Ink.SHADES),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Ink.COLOUR),
        ({"TERM": "dumb"}, Ink.SHADES),
    ],
)
def test_a_terminal_is_coloured_unless_it_is_asked_not_to_be(
    environ: dict[str, str], ink: Ink
) -> None:
    assert ink_for(Terminal(), environ) is ink
    assert ink_for(io.StringIO(), environ) is Ink.CHARACTERS


def test_without_unicode_there_are_no_shades() -> None:
    terminal = Terminal()
    terminal.encoding = "ascii"
    assert ink_for(terminal, {"NO_COLOR": "1"}) is Ink.CHARACTERS
