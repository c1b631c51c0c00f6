"""What Markdown looks like once it is blocks."""

from __future__ import annotations

import pytest

from tui.chat.transcript.markdown.block import Block, Kind, has_gap
from tui.chat.transcript.markdown.parse import parse_blocks
from tui.chat.transcript.markdown.table import table_content


def drawn(text: str) -> list[str]:
    """Blocks as lines with their prefixes, an empty line where a gap is."""
    lines: list[str] = []
    previous: Block | None = None
    for block in parse_blocks(text):
        if has_gap(previous, block):
            lines.append("")
        for number, line in enumerate(block.content.plain.split("\n")):
            lines.append((block.rest if number else block.first) + line)
        previous = block
    return lines


def test_nested_lists_keep_their_numbers_and_depth() -> None:
    assert drawn("Do:\n\n3. a\n   - b\n     more\n     - c\n4. d\n\nEnd") == [
        "Do:",
        "",
        "3. a",
        "   ◦ b",
        "     more",
        "     ▪ c",
        "4. d",
        "",
        "End",
    ]


def test_quotes_stand_behind_a_line() -> None:
    assert drawn("> a\n> b\n>\n> - c") == ["▌ a", "▌ b", "", "▌ • c"]


def test_an_item_of_two_paragraphs_hangs_under_its_bullet() -> None:
    assert drawn("- a\n\n  b\n- c") == ["• a", "", "  b", "• c"]


def test_a_fence_keeps_its_source_and_language() -> None:
    (block,) = parse_blocks("```python title\nx = 1\n\n\ty\n```")
    assert (block.kind, block.language) == (Kind.CODE, "python")
    assert block.content.plain == "x = 1\n\n\ty"


def test_an_open_fence_is_code_to_the_end() -> None:
    (block,) = parse_blocks("```\n# not a heading\n\n- not a list")
    assert block.kind is Kind.CODE
    assert block.content.plain == "# not a heading\n\n- not a list"


def test_inline_styles_are_spans_of_the_plain_text() -> None:
    (block,) = parse_blocks("a **b _c_** `d` ~~e~~")
    assert block.content.plain == "a b c d e"
    styles = {block.content.plain[s.start : s.end]: str(s.style) for s in block.content.spans}
    assert styles == {"b c": "bold", "c": "italic", "d": "$text-accent", "e": "strike"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[docs](https://a.b/c)", "docs (https://a.b/c)"),
        ("<https://a.b/c>", "https://a.b/c"),
        ("![cat](cat.png)", "[image: cat] (cat.png)"),
        ("<b>bold</b> <!-- x -->", "<b>bold</b> <!-- x -->"),
        ("&lt;&amp; &copy;", "<& ©"),
        ("[a]\n\n[a]: /late", "[a]\n[a]: /late"),
    ],
)
def test_nothing_is_hidden_from_the_reader(text: str, shown: str) -> None:
    assert "\n".join(block.content.plain for block in parse_blocks(text)) == shown


@pytest.mark.parametrize("text", ["&#x202e;x", "`&#x9b;`", "&#27;", "![&#x202e;](&#x202e;)"])
def test_character_references_cannot_smuggle_control_characters(text: str) -> None:
    shown = "".join(block.content.plain for block in parse_blocks(text))
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)


def test_a_table_is_aligned_and_cut_to_the_width() -> None:
    (block,) = parse_blocks("| a | number |\n|---|---:|\n| some long words here | 7 |")
    assert block.table is not None
    assert table_content(block.table, 40).plain.split("\n") == [
        "a                    │ number",
        "─────────────────────┼───────",
        "some long words here │      7",
    ]
    narrow = table_content(block.table, 20)
    assert max(line.cell_length for line in narrow.split()) <= 20
    assert "words" in narrow.plain
