from __future__ import annotations

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tui.chat.transcript.markdown.block import Block
from tui.chat.transcript.markdown.parse import parse_blocks
from tui.chat.transcript.markdown.stream import MarkdownStream
from tui.text.sanitize import printable

# Pieces that meet in every way Markdown can surprise: lazy lines, setext underlines, nested and
# renumbered lists, fences that never close, tables, references and character references.
PIECES = (
    *("a", "word ", "long words here", "é日本", "x|y", "| a | b |", "|---|:-:|", "-|-", "|"),
    *("\n", "\n\n", "\n\n\n", "  \n", " ", "  ", "    ", "\t"),
    *(
        "# ",
        "### h",
        "===",
        "---",
        "***",
        "* * *",
        "- ",
        "-",
        "* ",
        "+ ",
        "1. ",
        "1) ",
        "7. ",
        "10.",
    ),
    *("> ", ">", ">> ", "```", "```py\n", "~~~", "````", "`", "``", "**", "*", "_", "~~"),
    *("[a]: /b", "[a]", "[t](u)", "![i](s)", "<b>", "<!-- ", "&amp;", "&#x202e;", "\\", "\x1b[1m"),
)
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def described(blocks: list[Block]) -> list[tuple[object, ...]]:
    """Blocks with everything of them compared; two contents are equal when only texts are."""
    return [
        (
            *(block.kind, block.content.plain, block.content.spans, block.first, block.rest),
            *(block.is_item, block.depth, block.language),
            block.table
            and [[(cell.plain, cell.spans) for cell in row] for row in block.table.rows],
            block.table and block.table.alignments,
        )
        for block in blocks
    ]


def streamed(text: str, cuts: list[int]) -> list[Block]:
    stream = MarkdownStream()
    blocks: list[Block] = []
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in itertools.pairwise(places):
        stream.feed(text[start:end])
        blocks += stream.settle()
        stream.tail()
    return blocks + stream.finish()


@settings(max_examples=600, deadline=None)
@given(MARKDOWN, st.lists(st.integers(0, 500), max_size=12))
@example("1. a\n1. b\n1. c\n\n   d\n", [5, 10, 15])
@example("- a\n-\n--\n", [4, 5, 6, 7, 8])
@example("text\na | b\n-|-\n1|2\n\nafter", [5, 12, 16, 20])
@example("see [a]\n\n[a]: /late\n", [9, 12])
@example("```py\nx = 1\n\ny", [6, 12])
def test_any_split_gives_the_blocks_of_one_parse(text: str, cuts: list[int]) -> None:
    assert described(streamed(text, cuts)) == described(parse_blocks(printable(text)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.lists(st.integers(0, 80), max_size=6))
def test_any_characters_at_all_are_drawn(text: str, cuts: list[int]) -> None:
    assert described(streamed(text, cuts)) == described(parse_blocks(printable(text)))


@settings(max_examples=200, deadline=None)
@given(MARKDOWN)
def test_a_stop_anywhere_gives_the_blocks_of_the_partial_text(text: str) -> None:
    cut = len(text) // 2
    partial = text[:cut]
    assert described(streamed(partial, list(range(cut)))) == described(
        parse_blocks(printable(partial))
    )


def test_a_settled_block_is_given_once_and_leaves_the_tail() -> None:
    stream = MarkdownStream()
    stream.feed("# Head\n\nFirst")
    assert stream.settle() == []
    stream.feed(" line\nof the")
    assert [block.content.plain for block in stream.settle()] == ["Head"]
    assert [block.content.plain for block in stream.tail()] == ["First line\nof the"]
    stream.feed(" paragraph.\n\nSecond")
    assert stream.settle() == []
    stream.feed(" one\n")
    assert [block.content.plain for block in stream.settle()] == ["First line\nof the paragraph."]
    assert [block.content.plain for block in stream.finish()] == ["Second one"]


def test_items_of_a_long_list_settle_one_by_one_and_keep_their_numbers() -> None:
    stream = MarkdownStream()
    stream.feed("1. a\n1. b\n1. c\n")
    settled = stream.settle()
    assert [block.first for block in settled] == ["1. ", "2. "]
    assert [block.first for block in stream.finish()] == ["3. "]
