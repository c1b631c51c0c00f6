"""Parse a Markdown text into units of blocks, for live, finished and stored answers alike."""

from __future__ import annotations

from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual.content import Content

from tui.chat.transcript.markdown.block import NOTHING, Block, Kind, Table
from tui.chat.transcript.markdown.inline import inline_content
from tui.text.sanitize import printable

# Link reference definitions are off: one may stand after its use, so text already settled on the
# screen would change. HTML is off: a model's `<tag>` is shown as it is.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_PARSER.disable("reference")

_BULLETS = ("• ", "◦ ", "▪ ")
_QUOTE = "▌ "


@dataclass(frozen=True, slots=True)
class Unit:
    """A top-level block or one item of a top-level list, which later lines cannot change."""

    start_line: int
    ordinal: int | None
    """Number of an item of an ordered list, which the item's own text does not determine."""
    blocks: tuple[Block, ...]


def parse_units(text: str, ordinal: int | None = None) -> list[Unit]:
    """Parse `text`; `ordinal` overrides the number of an ordered list at the very start."""
    tokens = _PARSER.parse(text)
    units: list[Unit] = []
    position = 0
    while position < len(tokens):
        end = _end(tokens, position)
        token = tokens[position]
        if token.type in ("bullet_list_open", "ordered_list_open"):
            number = _start(token)
            if number is not None and ordinal is not None and not units:
                number = ordinal
            inner = position + 1
            while inner < end - 1:
                item_end = _end(tokens, inner)
                walk = _Walk()
                walk.item(tokens[inner:item_end], number)
                units.append(Unit(_line(tokens[inner]), number, tuple(walk.blocks)))
                number = None if number is None else number + 1
                inner = item_end
        else:
            walk = _Walk()
            walk.children(tokens[position:end])
            units.append(Unit(_line(token), None, tuple(walk.blocks)))
        position = end
    return units


def parse_blocks(text: str) -> list[Block]:
    """Return the blocks of a whole text."""
    return [block for unit in parse_units(text) for block in unit.blocks]


@dataclass(slots=True)
class _Walk:
    """Collects blocks while walking down the tokens."""

    blocks: list[Block] = field(default_factory=list)
    prefixes: list[tuple[str, str]] = field(default_factory=list)
    depth: int = 0
    is_item: bool = False

    def children(self, tokens: list[Token]) -> None:
        position = 0
        while position < len(tokens):
            end = _end(tokens, position)
            self.block(tokens[position:end])
            position = end

    def block(self, tokens: list[Token]) -> None:
        token = tokens[0]
        if token.type in ("bullet_list_open", "ordered_list_open"):
            number = _start(token)
            position = 1
            while position < len(tokens) - 1:
                end = _end(tokens, position)
                self.item(tokens[position:end], number)
                number = None if number is None else number + 1
                position = end
        elif token.type == "blockquote_open":
            self.prefixes.append((_QUOTE, _QUOTE))
            self.children(tokens[1:-1])
            self.prefixes.pop()
        elif token.type in ("fence", "code_block"):
            source = printable(token.content).removesuffix("\n")
            language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
            self.emit(Kind.CODE, Content(source), language=printable(language))
        elif token.type == "table_open":
            self.emit(Kind.TABLE, table=_table(tokens))
        elif token.type == "hr":
            self.emit(Kind.RULE)
        elif token.type == "heading_open":
            self.emit(Kind.HEADING, inline_content(tokens[1].children or ()))
        else:
            self.emit(Kind.PARAGRAPH, inline_content(tokens[1].children or ()))

    def item(self, tokens: list[Token], number: int | None) -> None:
        bullet = _BULLETS[min(self.depth, len(_BULLETS) - 1)] if number is None else f"{number}. "
        self.prefixes.append((bullet, " " * len(bullet)))
        self.depth += 1
        self.is_item = True
        self.children(tokens[1:-1])
        if self.is_item:
            self.emit(Kind.PARAGRAPH)
        self.depth -= 1
        self.prefixes.pop()

    def emit(
        self,
        kind: Kind,
        content: Content = NOTHING,
        *,
        language: str = "",
        table: Table | None = None,
    ) -> None:
        first = "".join(prefix[0] for prefix in self.prefixes)
        rest = "".join(prefix[1] for prefix in self.prefixes)
        self.blocks.append(
            Block(kind, content, first, rest, self.is_item, self.depth, language, table)
        )
        self.is_item = False
        # A prefix such as a bullet is shown once; the blocks after it keep its width.
        self.prefixes = [(second, second) for _, second in self.prefixes]


def _end(tokens: list[Token], position: int) -> int:
    """Return the index after the token at `position` and everything inside it."""
    level = 0
    for index in range(position, len(tokens)):
        level += tokens[index].nesting
        if level <= 0:
            return index + 1
    return len(tokens)


def _line(token: Token) -> int:
    return token.map[0] if token.map else 0


def _start(token: Token) -> int | None:
    """Return the first number of an ordered list, or None for a bullet list."""
    if token.type != "ordered_list_open":
        return None
    start = token.attrGet("start")
    return 1 if start is None else int(start)


def _table(tokens: list[Token]) -> Table:
    rows: list[list[Content]] = []
    alignments: list[str] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(inline_content(tokens[index + 1].children or ()))
            if token.type == "th_open":
                style = str(token.attrGet("style") or "")
                alignments.append(style.removeprefix("text-align:") or "left")
    return Table(tuple(tuple(row) for row in rows), tuple(alignments))
