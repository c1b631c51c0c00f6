"""Pulled adapters are remembered under short names of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from modelfiles.errors import ReferenceNotFoundError, StoreError
from modelfiles.references.pulled_adapters import PulledAdapter, PulledAdapters

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def record(repo: str = "ann/sql", file: str = "sql.gguf", **changes: object) -> PulledAdapter:
    made = PulledAdapter(
        name="sql",
        repo=repo,
        revision="0" * 40,
        file=file,
        kind="gguf",
        path="/nowhere/sql.gguf",
        size_bytes=7,
        pulled=NOW,
    )
    return msgspec.structs.replace(made, **changes)


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    kept = PulledAdapters(tmp_path).put(record(base_models=("a/b",)))
    assert PulledAdapters(tmp_path).get("SQL") == kept == record(base_models=("a/b",))
    assert kept.reference == "hf.co/ann/sql:sql.gguf"
    assert not kept.is_there


def test_before_the_first_pull_there_is_none(tmp_path: Path) -> None:
    assert PulledAdapters(tmp_path / "absent").list() == []


def test_another_adapter_of_that_name_gets_a_number(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    names = [pulled.put(record(repo)).name for repo in ("ann/sql", "bob/sql", "cleo/sql")]
    assert names == ["sql", "sql-2", "sql-3"]


def test_pulling_again_keeps_the_name_and_takes_the_revision(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record("bob/sql"))
    pulled.put(record())
    again = pulled.put(record(revision="1" * 40))
    assert again.name == "sql-2"
    assert [r.revision for r in pulled.list() if r.repo == "ann/sql"] == ["1" * 40]
    assert len(pulled.list()) == 2


def test_the_newest_comes_first(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record())
    pulled.put(record("bob/sql", pulled=NOW + timedelta(days=1)))
    assert [r.repo for r in pulled.list()] == ["bob/sql", "ann/sql"]


def test_a_name_that_is_near_is_suggested(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record())
    with pytest.raises(ReferenceNotFoundError, match="sql"):
        pulled.get("sqll")


def test_a_removed_one_is_gone(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record())
    assert pulled.remove("sql").repo == "ann/sql"
    assert pulled.list() == []
    with pytest.raises(ReferenceNotFoundError):
        pulled.remove("sql")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"version": 9}', b"[1]"])
def test_a_record_of_another_make_is_passed_over(tmp_path: Path, content: bytes) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record())
    (tmp_path / "adapters" / "other.json").write_bytes(content)
    assert [r.name for r in pulled.list()] == ["sql"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(StoreError, match="home"):
        PulledAdapters(tmp_path / "home").put(record())


def test_a_record_of_no_known_time_is_left_out(tmp_path: Path) -> None:
    pulled = PulledAdapters(tmp_path)
    pulled.put(record())
    pulled.put(record("bob/other", name="other", pulled=NOW.replace(tzinfo=None)))
    assert [kept.name for kept in pulled.list()] == ["sql"]
