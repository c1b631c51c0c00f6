"""Every measurement runs from the command line to the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import MEASUREMENTS, main
from tests.benchmarks.shapes import TINY


def test_a_quick_run_measures_everything_and_writes_flat_figures(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    options = ["--quick", "--shape", TINY.key, "--threads", "1", "--json", str(written)]
    main([*options, "--folder", str(tmp_path / "models")])
    figures = json.loads(written.read_text())
    assert all(value is None or isinstance(value, float | int) for value in figures.values())
    for part in (
        "header_read_s",
        "conversion_ours_s",
        "hub_first_byte_to_first_row_s",
        f"decode_{TINY.key}_8_adapters_bare_tokens_per_s",
    ):
        assert figures[part] > 0
    for start in ("prefill_", "worker_overhead_", "swap_", "rescale_", "resident_", "event_loop_"):
        assert any(key.startswith(f"{start}{TINY.key}_") for key in figures), start
    assert isinstance(figures[f"goal_client_over_bare_{TINY.key}_reached"], bool)


def test_only_what_is_named_is_measured_and_the_folder_of_the_figures_is_made(
    tmp_path: Path,
) -> None:
    written = tmp_path / "new" / "figures.json"
    main(["--quick", "--only", "header", "--json", str(written)])
    assert {key.split("_")[0] for key in json.loads(written.read_text())} == {"n", "is", "header"}


def test_figures_that_cannot_be_written_are_wrong_use_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--quick", "--only", "header", "--json", str(tmp_path)])
    assert raised.value.code == 2
    shown, said = capsys.readouterr()
    assert str(tmp_path) in said
    assert shown == ""


def test_an_unknown_measurement_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--only", "nothing"])
    assert raised.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in MEASUREMENTS)
