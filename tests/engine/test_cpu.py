"""Thread counts follow physical cores, and AMX is noticed."""

from __future__ import annotations

import os
from pathlib import Path

from engine.cpu import default_threads, physical_cores, reports_amx


def topology(folder: Path, siblings: dict[int, str]) -> Path:
    for cpu, text in siblings.items():
        place = folder / f"cpu{cpu}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(text)
    return folder


def test_two_threads_of_one_core_count_once(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    shared = topology(tmp_path / "shared", dict.fromkeys(usable, "0-1"))
    apart = topology(tmp_path / "apart", {cpu: str(cpu) for cpu in usable})
    assert physical_cores(shared) == 1
    assert physical_cores(apart) == len(usable)


def test_without_a_topology_every_logical_core_counts(tmp_path: Path) -> None:
    assert physical_cores(tmp_path / "nothing") == len(os.sched_getaffinity(0))


def test_there_is_always_a_thread() -> None:
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


def test_amx_is_read_from_the_processors_flags(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("flags : fpu avx2 amx_bf16 amx_tile amx_int8\n")
    assert reports_amx(info)
    info.write_text("flags : fpu avx2 avx512f\n")
    assert not reports_amx(info)
    assert not reports_amx(tmp_path / "nothing")
