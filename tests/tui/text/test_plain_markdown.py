from __future__ import annotations

import pytest

from tui.text.plain_markdown import plain_text


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("# Title\n\ntext", "Title\n\ntext\n"),
        ("**bold** and *soft*, 2 * 3 * 4", "bold and soft, 2 * 3 * 4\n"),
        ("run `tui run demo` now", "run tui run demo now\n"),
        ("see [the recipe](recipe/README.md)", "see the recipe (recipe/README.md)\n"),
        ("* one\n* two\n- three", "* one\n* two\n- three\n"),
        (
            "```sh\n# no heading\n| no | table\n```\nafter",
            "    # no heading\n    | no | table\nafter\n",
        ),
        ("<!-- hidden -->\nshown", "shown\n"),
        (
            "| scale | score |\n|---|---:|\n| `0` | 0.0 |\n| 1.0 | **0.9** |",
            "scale    score\n0        0.0\n1.0      0.9\n",
        ),
    ],
)
def test_the_marks_go_and_the_text_stays(markdown: str, plain: str) -> None:
    assert plain_text(markdown) == plain
