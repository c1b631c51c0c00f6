"""The manual says what the program does: its tables are those of the code, its examples run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from io import StringIO
from itertools import chain
from pathlib import Path

import pytest
from rich.console import Console
from rich.markdown import Markdown

from modelfiles.parameters import DEFAULTS, KINDS, OWN
from tests.support.manual_tables import (
    MANUAL,
    PARTS,
    names_of_parts,
    options_of,
    parser_of,
    rewritten,
)
from tui.cli import build_parser
from tui.commands import COMMANDS
from tui.errors import UsageError
from tui.manual import ALSO, TOPICS, Page, page, topics

ROOT = Path(__file__).parents[3]
FILES = sorted(MANUAL.glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *FILES, ROOT / "modelfiles/demo/CARD.md"]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}


def test_there_are_few_topics_and_each_has_its_page() -> None:
    assert {path.stem for path in FILES} == set(TOPICS) - {"demo"}
    assert len(TOPICS) <= 12
    assert [page.topic for page in topics()] == list(TOPICS)


@pytest.mark.parametrize("found", topics(), ids=lambda found: found.topic)
def test_a_page_begins_with_its_title_and_one_short_line(found: Page) -> None:
    assert found.title
    assert not found.title.startswith("#")
    assert found.text.startswith(f"# {found.title}\n\n{found.summary}\n\n")
    assert len(found.summary) <= 56  # what the list of topics in the chat has room for
    assert found.summary.endswith(".")


@pytest.mark.parametrize("found", topics(), ids=lambda found: found.topic)
def test_a_page_is_shown_without_comments(found: Page) -> None:
    assert "<!--" not in found.text


@pytest.mark.parametrize("found", topics(), ids=lambda found: found.topic)
def test_on_80_columns_no_word_of_a_table_is_cut(found: Page) -> None:
    console = Console(width=80, file=StringIO())
    with console.capture() as shown:
        console.print(Markdown(found.text))
    assert shown.get().count("…") == found.text.count("…")


def test_flowing_a_page_has_each_paragraph_on_one_line() -> None:
    kept = "| a |\n|---|\n| b |\n\n```sh\nx\n\ny\nz\n```"
    body = f"A b\nc.\n\n* one\n  two\n* three\n\n{kept}\nlast\nline"
    flowing = f"A b c.\n\n* one two\n* three\n\n{kept}\nlast line"
    assert Page("", "", "", body).flowing == flowing


@pytest.mark.parametrize("found", topics(), ids=lambda found: found.topic)
def test_flowing_a_page_loses_no_word(found: Page) -> None:
    assert found.flowing.split() == found.body.split()


def test_a_page_is_found_by_its_topic_however_written_and_by_other_words() -> None:
    assert page("GPUs") == page("gpus") == page("gpu")
    assert page("nothing") is None
    assert set(ALSO.values()) <= set(TOPICS)
    assert not (set(TOPICS) | set(ALSO)) & set(COMMANDS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_generated_parts_are_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: python -m tests.support.manual_tables"


def test_every_generated_part_stands_in_one_page() -> None:
    found = chain.from_iterable(names_of_parts(path.read_text("utf-8")) for path in FILES)
    assert sorted(found) == sorted(PARTS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_of_commands_has_every_option(name: str) -> None:
    section = re.search(rf"^## tui {name}\n(.*?)(?=^## |\Z)", TEXTS["commands.md"], re.M | re.S)
    assert section
    for action in options_of(parser_of(name)):
        for word in action.option_strings or [str(action.metavar).replace("|", "\\|")]:
            assert re.search(rf"^\| `.*{re.escape(word)}\b.*` \|", section[1], re.M), word


def test_the_page_of_the_modelfile_has_every_parameter_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\| ", TEXTS["modelfile.md"], re.M)
    shown = {name: default for name, default in rows if name in KINDS}
    unused = re.search(
        r"`num_keep` \((\d+)\) and `draft_num_predict` \((\d+)\)", TEXTS["modelfile.md"]
    )
    assert unused
    shown |= {"num_keep": unused[1], "draft_num_predict": unused[2]}
    assert set(shown) == set(KINDS) - set(OWN)  # those have a table of their own
    for name in shown:
        # Unset, the engine takes what suits the base and the machine, not Ollama's value.
        default = None if name == "num_batch" else getattr(DEFAULTS, name)
        assert shown[name] == ("" if default in (None, ()) else str(default).lower()), name


@pytest.mark.parametrize("name", TEXTS)
def test_every_page_that_is_named_exists(name: str) -> None:
    for word in re.findall(r"`tui\s+help\s+([\w-]+)`", TEXTS[name]):
        known = word in ("TOPIC", "COMMAND") or page(word) is not None or word in COMMANDS
        assert known, word


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_linked_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("name", TEXTS)
def test_every_target_of_make_that_is_named_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^)(?:\w+=\S+ )*make ([a-z-]+)", TEXTS[name], re.M))
    assert named <= targets


def command_lines(text: str) -> list[str]:
    """Return the commands of `tui` in the code of a page, without comments and redirections."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    lines = chain.from_iterable(block.splitlines() for block in blocks)
    parts = chain.from_iterable(re.split(r" \| | > |\s#|   ", line) for line in lines)
    return [part.strip() for part in parts if part.strip().startswith("tui ")]


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_line_that_is_shown_can_be_parsed(name: str) -> None:
    for line in command_lines(TEXTS[name]):
        try:
            words = shlex.split(line)[1:]
            build_parser(words[0]).parse_args(words)
        except UsageError as error:
            pytest.fail(f"{line}: {error}")


def test_command_lines_are_found() -> None:
    text = "```sh\necho x | tui run demo --json   # said\nls\ntui help gpus > gpus.md\n```\ntui x\n"
    assert command_lines(text) == ["tui run demo --json", "tui help gpus"]


def test_the_python_example_runs() -> None:
    example = re.search(r"```python\n(.*?)```", TEXTS["how-it-works.md"], re.DOTALL)
    assert example
    done = subprocess.run(
        [sys.executable, "-c", example[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, *rest = done.stdout.splitlines()
    assert first != first.upper(), "only the pirate speaks"
    assert second == second.upper(), "the pirate shouts"
    assert rest[0] == "pirate 1.0 rank 8 alpha 16.0"
