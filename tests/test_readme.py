"""The README says what the program does: its tables are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelfiles.parameters import OWN
from tui.chat.keys.all_keys import KEYS
from tui.chat.keys.key import Place
from tui.chat.prompt.slash.table import TABLE
from tui.cli import main
from tui.settings import SETTINGS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def between(begin: str, end: str) -> str:
    """Return the README's text after the comment that begins with `begin`."""
    match = re.search(rf"<!-- {begin}[^\n]*-->\n(.*?)<!-- {end} -->", README, re.DOTALL)
    assert match, f"the README has no part called {begin}"
    return match[1].strip()


def keys_table() -> str:
    places = [p for p in Place if p in (Place.CHAT, Place.PROMPT, Place.RACK)]
    rows = ["| where | key | does |", "|---|---|---|"]
    rows += [
        f"| {place.value.lower()} | {key.label} | {key.description} |"
        for place in places
        for key in KEYS
        if key.place is place
    ]
    return "\n".join(rows)


def test_the_keys_are_those_of_the_table() -> None:
    assert between("keys", "end of keys") == keys_table()


def test_the_commands_of_the_chat_are_those_of_the_table() -> None:
    rows = ["| command | does |", "|---|---|"]
    for row in TABLE:
        alias = f" or `{row.alias}`" if row.alias else ""
        rows.append(f"| `{row.usage}`{alias} | {row.description} |")
    shown = between("commands of the chat", "end of commands of the chat")
    assert shown == "\n".join(rows)


def test_the_own_parameters_are_those_of_the_table() -> None:
    rows = ["| parameter | sets |", "|---|---|"]
    rows += [f"| `{name}` | {sets} |" for name, sets in OWN.items()]
    assert between("own parameters", "end of own parameters") == "\n".join(rows)


def test_the_settings_are_those_of_the_table() -> None:
    rows = ["| setting | values | default | what it does and costs |", "|---|---|---|---|"]
    rows += [f"| `{s.key}` | {s.values} | {s.default} | {s.description} |" for s in SETTINGS]
    assert between("settings", "end of settings") == "\n".join(rows)


def test_the_demo_card_is_the_one_that_show_prints() -> None:
    card = (ROOT / "modelfiles" / "demo" / "CARD.md").read_text().strip()
    one_level_down = re.sub(r"^#", "##", card, flags=re.MULTILINE)
    assert between("demo card", "end of demo card") == one_level_down


def test_every_command_is_listed_and_every_listed_one_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = set(re.findall(r"^\| `tui (\w+)", README, re.MULTILINE))
    main(["--help"])
    offered = set(re.findall(r"^    (\w+) ", capsys.readouterr().out, re.MULTILINE))
    assert listed == offered


def test_the_python_example_runs() -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    done = subprocess.run(
        [sys.executable, "-c", example[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, second, *rest = done.stdout.splitlines()
    assert first != first.upper(), "only the pirate speaks"
    assert second == second.upper(), "the pirate shouts"
    assert rest[0] == "pirate 1.0 rank 8 alpha 16.0"


def test_every_file_the_readme_shows_exists() -> None:
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
