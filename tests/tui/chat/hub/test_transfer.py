"""A download says how much is there, how fast it comes and how long it takes."""

from __future__ import annotations

from tui.chat.hub.transfer import Transfer

MB = 10**6


def test_a_download_that_has_not_begun_says_so() -> None:
    assert Transfer(0.0).content(9.0, 80).plain == "downloading…"


def test_rate_and_time_left_follow_from_what_has_arrived() -> None:
    transfer = Transfer(10.0)
    transfer.took(20 * MB, 100 * MB)
    text = transfer.content(14.0, 80).plain
    assert text.endswith(" 20%  20 MB of 100 MB  5.0 MB/s  16s left")


def test_the_first_moment_has_no_rate_and_the_end_no_time_left() -> None:
    transfer = Transfer(0.0)
    transfer.took(50 * MB, 100 * MB)
    assert transfer.content(0.1, 80).plain.endswith("50%  50 MB of 100 MB")
    transfer.took(100 * MB, 100 * MB)
    assert transfer.content(10.0, 80).plain.endswith("100%  100 MB of 100 MB  10 MB/s")


def test_a_narrow_line_does_without_the_bar_and_no_bytes_are_all_bytes() -> None:
    transfer = Transfer(0.0)
    transfer.took(0, 0)
    assert transfer.content(1.0, 20).plain == "100%  0 B of 0 B"
