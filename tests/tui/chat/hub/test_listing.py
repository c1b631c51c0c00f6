"""What searches have found is filtered by the words of now and ordered here."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.hub.search.search import Repository, RepositoryKind
from tui.chat.hub.listing import Listing, normal_words

SQL = Repository("ann/sql-lora", RepositoryKind.GGUF, downloads=5, likes=9, license="mit")
STYLE = Repository(
    "bob/Style",
    RepositoryKind.PEFT,
    downloads=50,
    likes=1,
    modified=datetime(2026, 3, 1, tzinfo=UTC),
)
BARE = Repository("cid/bare", RepositoryKind.UNKNOWN)


def names(listing: Listing, words: str = "", order: str = "downloads") -> list[str]:
    return [row.name.partition("/")[2] for row in listing.rows(words, order)]  # type: ignore[arg-type]  # a word of the table


def filled() -> Listing:
    listing = Listing()
    listing.add([SQL, BARE, STYLE], "")
    return listing


def test_what_an_answer_left_out_comes_last_in_every_order() -> None:
    listing = filled()
    assert names(listing) == ["Style", "sql-lora", "bare"]
    assert names(listing, order="likes") == ["sql-lora", "Style", "bare"]
    assert names(listing, order="recent") == ["Style", "sql-lora", "bare"]


def test_words_are_looked_for_in_name_kind_and_licence() -> None:
    listing = filled()
    assert names(listing, "style") == ["Style"]
    assert names(listing, "gguf mit") == ["sql-lora"]
    assert names(listing, "sql peft") == []


def test_what_the_hub_found_for_the_words_is_shown_whatever_it_saw_in_it() -> None:
    listing = filled()
    listing.add([BARE], "database")
    assert names(listing, "database") == ["bare"]
    assert names(listing, "databases") == []


def test_what_is_found_twice_is_one_row_as_it_was_told_last() -> None:
    listing = filled()
    listing.add([Repository(SQL.name, RepositoryKind.GGUF, downloads=500)], "sql")
    assert names(listing) == ["sql-lora", "Style", "bare"]
    listing.clear()
    assert names(listing) == []


def test_words_are_compared_in_small_letters_with_single_blanks() -> None:
    assert normal_words("  SQL\t Lora ") == "sql lora"
    assert normal_words("https://huggingface.co/Ann/SQL ") == "ann/sql"
    assert normal_words("hf.co/ann/sql") == "ann/sql"
