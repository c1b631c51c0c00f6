"""The widgets of an answer that grew equal those of the same answer drawn at once."""

from __future__ import annotations

import itertools

import pytest
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll

from tests.tui.chat.transcript.markdown.test_stream import described
from tui.chat.transcript.markdown.block_views import BlockView, CodeView
from tui.chat.transcript.markdown.body import MarkdownBody
from tui.chat.transcript.markdown.parse import parse_blocks

TEXT = """# Title

Some *words* on
two lines.

1. one
2. two
   - nested
3. three

> quoted

| a | b |
|---|--:|
| 1 | 2 |

```py
x = 1

y = 2
```

---

""" + "\n".join(f"- item {number}" for number in range(40))


class Stage(App[None]):
    """Shows one body."""

    def __init__(self, body: MarkdownBody) -> None:
        super().__init__()
        self.body = body

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield self.body


def lines_of(app: Stage) -> list[str]:
    """Every line of the body, also those outside the screen."""
    lines: list[str] = []
    for view in app.body.query(BlockView):
        region = view.size.region.grow(view.gutter)
        for strip in view.render_lines(region.reset_offset):
            lines.append("".join(segment.text for segment in strip).rstrip())
    return lines


async def whole(text: str) -> list[str]:
    app = Stage(MarkdownBody(text, is_over=True))
    async with app.run_test(size=(60, 30)) as pilot:
        await pilot.pause()
        assert described(app.body.blocks) == described(parse_blocks(text))
        return lines_of(app)


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
async def test_any_split_ends_in_the_same_lines(step: int) -> None:
    app = Stage(MarkdownBody("", is_over=False))
    async with app.run_test(size=(60, 30)) as pilot:
        for end in itertools.count(step, step):
            app.body.feed(TEXT[:end])
            app.body.flush()
            if end >= len(TEXT):
                break
        app.body.finish(TEXT)
        await pilot.pause()
        assert described(app.body.blocks) == described(parse_blocks(TEXT))
        assert lines_of(app) == await whole(TEXT)
        assert not app.body.query(".-tail")


@pytest.mark.parametrize("end", [TEXT.index("x = 1") + 3, TEXT.index("| 1"), TEXT.index("nested")])
async def test_a_stop_inside_a_block_leaves_that_block(end: int) -> None:
    app = Stage(MarkdownBody("", is_over=False))
    async with app.run_test(size=(60, 30)) as pilot:
        app.body.feed(TEXT[:end])
        app.body.flush()
        await pilot.pause()
        app.body.finish(TEXT[:end])
        await pilot.pause()
        assert lines_of(app) == await whole(TEXT[:end])


async def test_an_answer_that_ends_otherwise_than_it_came_is_drawn_as_it_ended() -> None:
    app = Stage(MarkdownBody("", is_over=False))
    async with app.run_test(size=(60, 30)) as pilot:
        app.body.feed("One\n\nTwo\n\nThree")
        app.body.flush()
        await pilot.pause()
        app.body.finish("One\n\nOther")
        await pilot.pause()
        assert [block.content.plain for block in app.body.blocks] == ["One", "Other"]


async def test_wrapped_lines_of_an_item_hang_beside_its_bullet() -> None:
    lines = await whole("1. " + "word " * 20)
    assert lines[0].startswith("1. word")
    assert all(line.startswith("   word") for line in lines[1:])
    assert len(lines) > 1


async def test_a_fence_knows_its_source() -> None:
    app = Stage(MarkdownBody("```py\nif x:\n\ty()\n```", is_over=True))
    async with app.run_test(size=(60, 30)):
        assert app.body.query_one(CodeView).source == "if x:\n\ty()"


async def test_a_table_is_laid_out_again_for_another_width() -> None:
    text = "| name | text |\n|---|---|\n| a | " + "word " * 12 + "|"
    app = Stage(MarkdownBody(text, is_over=True))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        assert len(lines_of(app)) == 3
        await pilot.resize_terminal(40, 30)
        await pilot.pause()
        assert len(lines_of(app)) > 3
        assert all(len(line) <= 40 for line in lines_of(app))
