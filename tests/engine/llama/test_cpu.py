"""Thread counts follow physical cores, and AMX is noticed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from engine.llama.cpu import default_threads, physical_cores, reports_amx, shorten_waits


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


def test_waiting_threads_give_their_core_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(machine: str, **environment: str) -> dict[str, str]:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        shorten_waits(environment)
        return environment

    assert chosen("x86_64") == chosen("AMD64") == {"GOMP_SPINCOUNT": "10000"}
    assert chosen("aarch64") == {}
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        assert chosen("x86_64", **{name: "5"}) == {name: "5"}, "what the person chose stays"


def test_openmp_reads_it_when_llama_cpp_is_loaded() -> None:
    program = (
        "import os, sys\n"
        "from engine.llama import cpu\n"
        "def loaded(environment=os.environ):\n"
        "    print('llama_cpp' in sys.modules)\n"
        "cpu.shorten_waits = loaded\n"
        "import engine.llama.library\n"
        "print('llama_cpp' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
