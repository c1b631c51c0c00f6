"""Where state lies, and that it is private from the first file on."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.state.home import make_private, state_home


def test_the_variable_moves_all_state(tmp_path: Path) -> None:
    assert state_home({"LORA_TUI_HOME": str(tmp_path)}) == tmp_path
    assert state_home({"LORA_TUI_HOME": " "}).name == "lora-tui"


def test_every_folder_that_is_missing_is_made_for_its_owner_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = tmp_path / "home" / "cache" / "fused"
    make_private(folder)
    make_private(folder)
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.parents[:3])] == [
        *(0o700, 0o700, 0o700),
        0o755,
    ]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(OSError, match="home"):
        make_private(tmp_path / "home" / "cache")
