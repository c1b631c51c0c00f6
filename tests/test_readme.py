"""The README is a way in: short, and its numbers are those of the manual."""

from __future__ import annotations

import re
from pathlib import Path

from tui.manual import TOPICS, page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 1300


def test_the_readme_links_every_page_of_the_manual() -> None:
    linked = set(re.findall(r"\[([\w-]+)\]\((?:tui/manual|modelfiles/demo)/[\w-]+\.md\)", README))
    assert linked == set(TOPICS)


def test_the_six_numbers_are_those_of_the_measurements() -> None:
    rows = re.findall(r"^\| (?!what|-)(.+?) \| (.+?) \| `(make .+)` \|$", README, re.M)
    measurements = page("measurements")
    assert measurements
    assert len(rows) == 6
    for _, result, command in rows:
        for number in re.findall(r"\d[\d.]*", result):
            assert number in measurements.body, result
        assert command == "make bench" or command in measurements.body
