from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.hub.client.addresses import hub_address
from tui.text.units import age_text, count_text, duration_text, size_text

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (9_940, "9.9 KB"),
        (10_900, "10 KB"),
        (999_999, "999 KB"),
        (2_019_393_189, "2.0 GB"),
        (40_000_000_000_000, "40 TB"),
        (5_000_000_000_000_000, "5000 TB"),
    ],
)
def test_a_size_is_shown_in_decimal_units(size_bytes: int, shown: str) -> None:
    assert size_text(size_bytes) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(870, "870"), (1_500, "1.5K"), (2_800_000, "2.8M"), (7_000_000_000, "7B")],
)
def test_a_count_of_parameters_is_shown_in_thousands_and_millions(count: int, shown: str) -> None:
    assert count_text(count) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"),
    [(0.0, "0.00ms"), (0.0352, "35.20ms"), (1.25, "1.25s"), (125.04, "2m5.0s")],
)
def test_a_duration_is_shown_in_a_unit_that_suits_it(duration_s: float, shown: str) -> None:
    assert duration_text(duration_s) == shown


@pytest.mark.parametrize(
    ("age", "shown"),
    [
        (timedelta(), "Less than a second ago"),
        (timedelta(seconds=1), "1 second ago"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(seconds=61), "About a minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(minutes=70), "About an hour ago"),
        (timedelta(hours=47), "47 hours ago"),
        (timedelta(days=13), "13 days ago"),
        (timedelta(weeks=3), "3 weeks ago"),
        (timedelta(days=70), "2 months ago"),
        (timedelta(days=365 * 3), "3 years ago"),
        (-timedelta(days=3), "3 days from now"),
    ],
)
def test_an_age_is_told_in_one_unit(age: timedelta, shown: str) -> None:
    assert age_text(NOW - age, NOW) == shown


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("{0}/models--ann--sql-lora/snapshots/{1}/lora.gguf", "hf.co/ann/sql-lora:lora.gguf"),
        ("{0}/models--ann--sql/snapshots/{1}/a/b.gguf", "hf.co/ann/sql:a/b.gguf"),
        ("{0}/models--ann--sql/snapshots/{1}", "hf.co/ann/sql"),
        ("{0}/models--ann--sql/snapshots/main/lora.gguf", ""),
        ("{0}/lora.gguf", ""),
    ],
)
def test_what_lies_in_the_cache_is_told_by_its_address(path: str, shown: str) -> None:
    assert hub_address(path.format("/home/me/.cache/hugging face/hub", "0a" * 20)) == shown
