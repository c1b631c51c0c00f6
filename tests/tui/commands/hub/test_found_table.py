"""What a search finds as lines: as wide as the terminal, and whole where there is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.hub.search.fit import Fit, Verdict
from engine.hub.search.search import Repository, RepositoryKind
from tui.commands.hub.found_table import FoundTable
from tui.commands.hub.judged import Found

REASON = "It adapts hf.co/ann/sql-lora:lora.gguf in a size that captain does not have. " * 3
FOUND = Found(
    Repository(
        name="ann/sql-lora",
        kind=RepositoryKind.GGUF,
        downloads=90_000,
        likes=12,
        modified=datetime(2026, 1, 1, tzinfo=UTC),
        size_bytes=35_000,
        license="mit",
    ),
    Fit(Verdict.MISFIT, REASON.strip()),
)


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_lines_are_no_wider_than_the_terminal(columns: int) -> None:
    table = FoundTable(has_fit=True, columns=columns)
    lines = [table.heading(), *table.row(FOUND).splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[1].startswith("ann/sql-lora ")
    assert lines[1].endswith("does not fit")
    assert lines[0].index("FIT") == lines[1].index("does not fit")
    assert " ".join(" ".join(lines[2:]).split()) == REASON.strip()


def test_columns_give_way_in_the_order_of_their_use() -> None:
    wide, narrow = (FoundTable(columns=columns).heading().split() for columns in (130, 70))
    assert wide[1:] == ["KIND", "DOWNLOADS", "LIKES", "MODIFIED", "SIZE", "LICENSE", "ACCESS"]
    assert narrow[1:] == ["KIND", "DOWNLOADS", "ACCESS"]


def test_a_pipe_gets_one_whole_line_with_the_reason() -> None:
    (line,) = FoundTable(has_fit=True).row(FOUND).splitlines()
    assert line.endswith(f"does not fit: {REASON.strip()}")
    assert "  mit  " in line
