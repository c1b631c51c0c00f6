"""A repository in one line: the name keeps room, columns give way, marks are words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from engine.hub.search.search import Repository, RepositoryKind
from tui.chat.hub.columns import columns_for, head_content, row_content
from tui.text.units import short_age_text

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FULL = Repository(
    "ann/llama-sql-lora",
    RepositoryKind.GGUF,
    downloads=12_345,
    likes=7,
    modified=NOW - timedelta(days=21),
    size_bytes=45_000_000,
    license="apache-2.0",
)


def test_a_wide_line_tells_everything() -> None:
    text = row_content(FULL, 100, NOW).plain
    assert text.split() == [
        *("ann/llama-sql-lora", "GGUF", "LoRA", "12.3K", "7", "3w", "45", "MB", "apache-2.0")
    ]


def test_columns_give_way_to_the_name_the_least_important_first() -> None:
    labels = {width: [c.label for c in columns_for(width)[1]] for width in (100, 76, 56, 40, 20)}
    assert labels[100] == ["kind", "downloads", "likes", "age", "size", "licence"]
    assert labels[76] == ["kind", "downloads", "likes", "age", "size"]
    assert labels[56] == ["kind", "downloads", "size"]
    assert labels[40] == ["kind"]
    assert labels[20] == ["kind"]


@pytest.mark.parametrize("width", [20, 40, 56, 76, 100, 140])
def test_every_line_is_as_wide_as_the_list(width: int) -> None:
    wide = Repository(
        "日本/" + "模型" * 30, RepositoryKind.MLX, is_gated=True, license="ライセンス長い名前"
    )
    for repository in (FULL, wide):
        assert cell_len(row_content(repository, width, NOW).plain) == width
    assert cell_len(head_content(width, "likes").plain) == width


def test_what_is_closed_is_marked_and_the_mark_outlasts_a_long_name() -> None:
    long = "ann/" + "x" * 90
    gated = Repository(long, RepositoryKind.PEFT, is_gated=True)
    private = Repository(long, RepositoryKind.PEFT, is_private=True, is_gated=True)
    assert "… gated PEFT" in row_content(gated, 76, NOW).plain
    assert "… private PEFT" in row_content(private, 76, NOW).plain


def test_what_is_unknown_is_a_dash_and_what_steers_a_terminal_goes() -> None:
    strange = Repository("ann/a\x1b[31m\nb", RepositoryKind.UNKNOWN, license="\x9b2J")
    text = row_content(strange, 100, NOW).plain
    assert text.split() == ["ann/a[31m", "b", "unknown", "-", "-", "-", "-", "2J"]


def test_the_column_of_the_order_stands_out() -> None:
    head = head_content(100, "likes")
    marked = [head.plain[span.start : span.end] for span in head.spans if "bold" in str(span.style)]
    assert [text.strip() for text in marked] == ["likes"]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (-1, "new"),
        (0.01, "new"),
        (0.5, "12h"),
        (1, "1d"),
        (13, "13d"),
        (14, "2w"),
        (59, "8w"),
        (60, "2mo"),
        (364, "12mo"),
        (365, "1y"),
        (1000, "2y"),
    ],
)
def test_ages_fit_a_column(days: float, text: str) -> None:
    assert short_age_text(NOW - timedelta(days=days), NOW) == text
