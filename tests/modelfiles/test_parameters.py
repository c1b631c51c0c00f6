"""PARAMETER values: types, bounds, defaults, and how they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.language.modelfile import Modelfile
from modelfiles.parameters import (
    DEFAULTS,
    DEPRECATED,
    KINDS,
    LOAD_TIME,
    OWN,
    Parameters,
    build_parameters,
    parse_value,
)
from tests.support.places import MODELFILE_DATA

CASES: list[dict[str, Any]] = json.loads(
    (MODELFILE_DATA / "modelfile.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    "case", [c for c in CASES if "create_error" in c], ids=lambda case: case["name"]
)
def test_refused_parameters_of_every_case(case: dict[str, Any]) -> None:
    with pytest.raises(ModelfileError) as raised:
        Modelfile.from_text(case["modelfile"])
    assert case["create_error"] in str(raised.value)
    assert str(raised.value).startswith("(line 2): ")


@pytest.mark.parametrize("case", [c for c in CASES if "params" in c], ids=lambda case: case["name"])
def test_parameters_of_every_case(case: dict[str, Any]) -> None:
    modelfile = Modelfile.from_text(case["modelfile"])
    assert modelfile.parameters == Parameters(**case["params"])
    for warning, expected in zip(modelfile.warnings, case.get("warnings", []), strict=True):
        assert warning.startswith(expected)


@pytest.mark.parametrize("name", sorted(DEPRECATED))
def test_deprecated_parameters_warn_and_change_nothing(name: str) -> None:
    modelfile = Modelfile.from_text(f"FROM x\nPARAMETER {name} whatever\n")
    assert modelfile.parameters == Parameters()
    assert modelfile.warnings == (
        f"warning: parameter {name} is deprecated and has no effect (line 2)",
    )


@pytest.mark.parametrize("name", ["numa", "num_gqa", "tfs_z", "embedding_only", "", "Seed"])
def test_unknown_parameters_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=f"unknown parameter '{name}'"):
        parse_value(name, "1")


def test_an_unknown_parameter_names_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"'temprature' \(did you mean \"temperature\"\?\)"):
        parse_value("temprature", "1")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "-1", -1),
        ("seed", "+7", 7),
        ("top_k", "040", 40),
        ("temperature", "1", 1.0),
        ("temperature", "7e-1", 0.7),
        ("top_p", ".5", 0.5),
        ("top_p", "1.", 1.0),
        ("use_mmap", "t", True),
        ("use_mmap", "False", False),
        ("stop", "  <|im_end|>", "  <|im_end|>"),
        ("num_ubatch", "64", 64),
        ("flash_attention", "true", True),
        ("kv_cache_type", "q8_0", "q8_0"),
        ("rpc_hosts", "10.0.0.2:50052, box:1 ,box:1", "10.0.0.2:50052,box:1"),
        ("rpc_hosts", "none", "none"),
    ],
)
def test_texts_become_values_of_the_parameters_type(name: str, text: str, value: object) -> None:
    read = parse_value(name, text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("seed", "1.0", "invalid int value [1.0]"),
        ("seed", "1_000", "invalid int value [1_000]"),
        ("seed", "٣", "invalid int value [٣]"),
        ("seed", "9" * 5000, "invalid int value ["),
        ("seed", "", "invalid int value []"),
        ("seed", str(2**63), "seed must lie between"),
        ("temperature", "nan", "invalid float value [nan]"),
        ("temperature", "inf", "invalid float value [inf]"),
        ("temperature", "1e999", "invalid float value [1e999]"),
        ("temperature", "hot", "invalid float value [hot]"),
        ("temperature", "-0.1", "temperature must lie between"),
        ("temperature", "\x1b[2J", "invalid float value ["),
        ("top_p", "1.1", "top_p must lie between 0.0 and 1.0, not 1.1"),
        ("num_ctx", "0", "num_ctx must lie between"),
        ("repeat_penalty", "0", "repeat_penalty must lie between"),
        ("use_mmap", "tRuE", "invalid bool value [tRuE]"),
        ("stop", "", "stop needs a text"),
        ("num_ubatch", "0", "num_ubatch must lie between 1"),
        ("num_thread_batch", "-1", "num_thread_batch must lie between 0"),
        ("flash_attention", "auto", "invalid bool value [auto]"),
        ("kv_cache_type", "Q8_0", "kv_cache_type must be one of f32, f16, bf16, q8_0"),
        ("kv_cache_type", "q4_K", 'not "q4_K"'),
        ("kv_cache_type", "", "kv_cache_type must be one of"),
        ("rpc_hosts", "", "rpc_hosts takes HOST:PORT"),
        ("rpc_hosts", "10.0.0.2", '"10.0.0.2" is no host with a port'),
        ("rpc_hosts", "a:50052,", '"" is no host with a port'),
        ("rpc_hosts", "a:0", '"a:0" is no host'),
        ("rpc_hosts", "a:65536", '"a:65536" is no host'),
        ("rpc_hosts", "a:+1", '"a:+1" is no host'),
        ("rpc_hosts", "[::1]:50052", '"[::1]:50052" is no host'),
        ("rpc_hosts", "http://a:50052", '"http://a:50052" is no host'),
        ("rpc_hosts", "a\x1b[2J:1", "is no host"),
    ],
)
def test_texts_that_mean_nothing_are_refused(name: str, text: str, reason: str) -> None:
    with pytest.raises(ParameterError) as raised:
        parse_value(name, text)
    assert reason in str(raised.value)
    assert str(raised.value).isprintable()


def test_defaults_are_ollamas_at_run_time() -> None:
    assert (DEFAULTS.temperature, DEFAULTS.top_k, DEFAULTS.top_p) == (0.8, 40, 0.9)
    assert (DEFAULTS.repeat_penalty, DEFAULTS.seed, DEFAULTS.num_ctx) == (1.0, -1, 4096)
    unset = {n for n in Parameters.__struct_fields__ if getattr(DEFAULTS, n) is None}
    assert unset == {"main_gpu", "num_ubatch", "flash_attention"}
    assert set(KINDS) == set(Parameters.__struct_fields__)


def test_every_default_is_a_value_its_own_line_can_set() -> None:
    assert build_parameters((n, parse_value(n, t)) for n, t in DEFAULTS.lines()) == Parameters(
        **{n: getattr(DEFAULTS, n) or None for n in ["stop"]},
        **{n: getattr(DEFAULTS, n) for n in Parameters.__struct_fields__ if n != "stop"},
    )


def test_stop_is_gathered_and_other_values_are_overwritten() -> None:
    values = [("stop", "a"), ("seed", 1), ("stop", "b"), ("seed", 2)]
    assert build_parameters(values) == Parameters(seed=2, stop=("a", "b"))


def test_set_values_replace_the_bases_and_stop_is_replaced_whole() -> None:
    base = Parameters(seed=1, temperature=0.0, stop=("a", "b"))
    assert Parameters(temperature=0.5, stop=("c",)).over(base) == Parameters(
        seed=1, temperature=0.5, stop=("c",)
    )
    assert Parameters(seed=0).over(base) == Parameters(seed=0, temperature=0.0, stop=("a", "b"))


@given(seed=st.integers(-(2**63), 2**63 - 1), temperature=st.floats(0, 1e6))
def test_numbers_survive_being_written_and_read(seed: int, temperature: float) -> None:
    parameters = Parameters(seed=seed, temperature=temperature)
    lines = parameters.lines()
    assert build_parameters((name, parse_value(name, text)) for name, text in lines) == parameters


OWN_VALUES = Parameters(
    num_ubatch=64,
    num_thread_batch=2,
    flash_attention=False,
    kv_cache_type="bf16",
    rpc_hosts="10.0.0.2:50052,box:50053",
    repeat_limit=100,
)


def test_own_values_survive_a_modelfile() -> None:
    lines = "".join(f"PARAMETER {name} {text}\n" for name, text in OWN_VALUES.lines())
    assert {line.split()[1] for line in lines.splitlines()} == set(OWN)
    assert Modelfile.from_text(f"FROM x\n{lines}").parameters == OWN_VALUES


def test_the_load_time_parameters_are_apart_from_those_of_an_answer() -> None:
    mixed = Parameters(temperature=0.1, seed=1, stop=("a",), num_ctx=8).over(OWN_VALUES)
    assert mixed.load_time == replace(Parameters(num_ctx=8).over(OWN_VALUES), repeat_limit=None)
    assert set(OWN) - set(LOAD_TIME) == {"repeat_limit"}
    assert set(LOAD_TIME) < set(Parameters.__struct_fields__)
