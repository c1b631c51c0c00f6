"""`tui run` without a screen, with a real worker and a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import (
    TIMEOUT_S,
    Ended,
    environment,
    run_tui,
    write_model_files,
)
from tests.support.tiny_models import write_adapter


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of `tiny`, its home and `endless`, which never stops by itself."""
    folder = tmp_path_factory.mktemp("run")
    modelfile = write_model_files(folder)
    text = modelfile.read_text()
    for line, instead in (("num_predict 8", "num_predict -1"), ("num_ctx 256", "num_ctx 65536")):
        assert line in text
        text = text.replace(line, instead)
    (folder / "Endless").write_text(text)
    for name, file in (("tiny", "Modelfile"), ("endless", "Endless")):
        created = run_tui("create", name, "-f", file, home=folder / "home", folder=folder)
        assert created.code == 0, created.err
    return folder


def run(place: Path, *arguments: str, stdin: str | bytes = "") -> Ended:
    return run_tui("run", *arguments, home=place / "home", folder=place, stdin=stdin)


def document(place: Path, *arguments: str, stdin: str | bytes = "") -> dict[str, Any]:
    ended = run(place, "--json", *arguments, stdin=stdin)
    assert (ended.code, ended.err) == (0, "")
    value = json.loads(ended.out)
    assert isinstance(value, dict)
    return value


def test_an_answer_goes_to_stdout_and_nothing_else_anywhere(place: Path) -> None:
    ended = run(place, "tiny", "Hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.strip()
    assert ended.out.endswith("\n")


def test_json_is_one_document_with_the_answer_the_stack_and_the_statistics(place: Path) -> None:
    value = document(place, "tiny", "Hello")
    assert value["model"] == "tiny:latest"
    assert value["finish_reason"] == "length"
    stack = [(entry["name"], entry["scale"], entry["enabled"]) for entry in value["stack"]]
    assert stack == [("loud", 0.5, True), ("calm", 0.0, True)]
    stats = value["stats"]
    assert stats["generated_tokens"] == 8
    assert stats["prompt_tokens"] > stats["reused_tokens"] >= 0
    assert min(stats["load_s"], stats["prefill_s"], stats["decode_s"]) > 0
    assert value["response"].strip() == run(place, "tiny", "Hello").out.strip()


def test_piped_text_goes_before_the_prompt_with_a_blank_line_between(place: Path) -> None:
    piped = document(place, "tiny", "Sum", "up:", stdin="Some text.\n")
    spelled_out = document(place, "tiny", "Some text.\n\nSum up:")
    assert piped["response"] == spelled_out["response"]
    assert piped["stats"]["prompt_tokens"] == spelled_out["stats"]["prompt_tokens"]


def test_piped_text_alone_is_the_prompt_also_when_it_is_not_utf8(place: Path) -> None:
    assert document(place, "tiny", stdin=b"caf\xe9 \xff")["stats"]["prompt_tokens"] > 0


def test_a_lora_option_sets_the_scale_or_adds_a_file(place: Path) -> None:
    write_adapter(place / "extra.gguf", place / "base.gguf", seed=9)
    options = "--lora loud --lora-scale 0 --lora calm --lora extra.gguf --lora-scale -0.25"
    stack = document(place, "tiny", "Hello", *options.split())["stack"]
    scales = [(entry["name"], entry["scale"]) for entry in stack]
    assert scales == [("loud", 0.0), ("calm", 1.0), ("extra", -0.25)]


def test_a_scale_changes_the_answer(place: Path) -> None:
    answers = {
        scale: document(place, "tiny", "Hello", "--lora", "loud", "--lora-scale", scale)["response"]
        for scale in ("0", "2")
    }
    assert answers["0"] != answers["2"]


def test_verbose_prints_the_statistics_on_stderr(place: Path) -> None:
    ended = run(place, "tiny", "Hello", "--verbose")
    labels = [line.split(":")[0] for line in ended.err.splitlines()]
    assert labels[:2] == ["stack", "total duration"]
    assert labels[-1] == "eval rate"
    assert ended.out == run(place, "tiny", "Hello").out


def test_a_context_cut_to_what_the_base_was_trained_for_is_said(place: Path) -> None:
    wide = (place / "Modelfile").read_text().replace("num_ctx 256", "num_ctx 1000000")
    (place / "Wide").write_text(wide)
    run_tui("create", "wide", "-f", "Wide", home=place / "home", folder=place)
    ended = run(place, "wide", "Hello")
    assert ended.err.startswith("Note: num_ctx 1000000 is more than the base was trained for: ")
    assert ended.out == run(place, "tiny", "Hello").out


def start(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tui", "run", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        env=environment(place / "home"),
        start_new_session=True,
    )


def test_ctrl_c_keeps_the_beginning_of_the_answer_and_ends_the_worker(place: Path) -> None:
    process = start(place, "endless", "Hello")
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the worker as well
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert first
    assert (first + out).endswith(b"\n")
    assert err == b""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_reader_that_has_seen_enough_ends_the_run_quietly(place: Path) -> None:
    process = start(place, "endless", "Hello")
    assert process.stdout is not None
    assert process.stderr is not None
    os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(TIMEOUT_S) == 0
    process.stderr.close()
