from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import AdapterError, BaseError
from engine.resolve.adapter import equal_adapters
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.model import AdapterSpec, Model
from tests.support.tiny_models import write_adapter, write_base
from tui.cli import build_parser
from tui.commands.lora_options import LoraOption, stack_of_model, stacked, with_loras
from tui.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    base = write_base(folder / "base.gguf")
    for seed, name in enumerate(("pirate", "formal", "style")):
        write_adapter(folder / f"{name}.gguf", base, seed=seed)
    write_base(folder / "other.gguf", architecture="gemma")
    write_adapter(folder / "foreign.gguf", folder / "other.gguf")
    return folder


@pytest.fixture
def model(folder: Path) -> Model:
    adapters = (
        AdapterSpec("pirate", folder / "pirate.gguf", 0.0),
        AdapterSpec("formal", folder / "formal.gguf", 0.4),
    )
    return Model("mine:latest", folder / "base.gguf", adapters)


def scales(model: Model) -> list[tuple[str, float]]:
    return [(spec.name, spec.scale) for spec in model.adapters]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("", ()),
        ("--lora a", (LoraOption("a"),)),
        ("--lora a --lora-scale 0.5", (LoraOption("a", 0.5),)),
        ("--lora a --lora b --lora-scale -1.5", (LoraOption("a"), LoraOption("b", -1.5))),
        ("--lora a --lora-scale 0 --lora b", (LoraOption("a", 0.0), LoraOption("b"))),
        ("--lora-scale=-1e-1 --lora b", None),
        ("--lora b --lora-scale=-1e-1", (LoraOption("b", -0.1),)),
    ],
)
def test_a_scale_belongs_to_the_lora_before_it(
    arguments: str, options: tuple[LoraOption, ...] | None
) -> None:
    words = ["run", "demo", "Hello", *arguments.split()]
    if options is None:
        with pytest.raises(Exception, match="there is none"):
            build_parser("run").parse_args(words)
    else:
        assert build_parser("run").parse_args(words).loras == options


@pytest.mark.parametrize(
    "words",
    [
        "run demo --json --lora a Hello there",
        "run --json demo Hello there --lora a",
        "run --lora a demo Hello --json there",
    ],
)
def test_options_may_stand_anywhere_among_the_words(words: str) -> None:
    args = build_parser("run").parse_args(words.split())
    assert (args.name, args.prompt, args.is_json) == ("demo", ["Hello", "there"], True)
    assert args.loras == (LoraOption("a"),)


def test_words_after_two_dashes_are_a_prompt_whatever_they_look_like() -> None:
    args = build_parser("run").parse_args(["run", "demo", "--", "--json", "-x"])
    assert (args.name, args.prompt, args.is_json) == ("demo", ["--json", "-x"], False)


def test_a_name_from_the_stack_sets_its_scale_and_keeps_its_place(model: Model) -> None:
    mixed = with_loras(model, [LoraOption("pirate", 0.7), LoraOption("formal")])
    assert scales(mixed) == [("pirate", 0.7), ("formal", 1.0)]
    assert scales(model) == [("pirate", 0.0), ("formal", 0.4)]


def test_a_file_is_added_at_the_end_under_the_name_of_its_stem(model: Model, folder: Path) -> None:
    mixed = with_loras(model, [LoraOption(str(folder / "style.gguf"), 0.3)])
    assert scales(mixed) == [("pirate", 0.0), ("formal", 0.4), ("style", 0.3)]
    assert mixed.adapters[2].path == folder / "style.gguf"


def test_a_relative_path_starts_at_the_current_folder(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    mixed = with_loras(model, [LoraOption("style.gguf")])
    assert mixed.adapters[2].path == folder / "style.gguf"


def test_the_file_of_an_adapter_in_the_stack_means_that_adapter(model: Model, folder: Path) -> None:
    path = os.path.relpath(folder / "pirate.gguf")
    assert scales(with_loras(model, [LoraOption(path, 0.2)]))[0] == ("pirate", 0.2)


def test_another_file_of_the_same_name_gets_a_name_of_its_own(
    model: Model, folder: Path, tmp_path: Path
) -> None:
    path = write_adapter(tmp_path / "pirate.gguf", folder / "base.gguf", seed=9)
    mixed = with_loras(model, [LoraOption(str(path)), LoraOption("pirate-2", 0.5)])
    assert scales(mixed) == [("pirate", 0.0), ("formal", 0.4), ("pirate-2", 0.5)]


def test_a_reference_to_nothing_names_what_there_is(model: Model) -> None:
    with pytest.raises(
        ReferenceNotFoundError, match=r'"pirat" .did you mean "pirate".*\(pirate, formal\)'
    ):
        with_loras(model, [LoraOption("pirat")])


def test_the_stack_has_every_adapter_in_order_also_at_scale_0(model: Model) -> None:
    stack = stack_of_model(model)
    assert [(e.adapter.name, e.scale, e.is_enabled) for e in stack] == [
        ("pirate", 0.0, True),
        ("formal", 0.4, True),
    ]
    assert stack.label == "formal 0.40"


def test_an_adapter_that_does_not_fit_is_refused_before_anything_is_loaded(
    model: Model, folder: Path
) -> None:
    with pytest.raises(AdapterError, match="gemma"):
        stack_of_model(with_loras(model, [LoraOption(str(folder / "foreign.gguf"))]))


def test_a_base_that_is_an_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(BaseError):
        stack_of_model(Model("odd:latest", folder / "style.gguf"))


@pytest.mark.parametrize("reference", ["pirate:0.7", "pirate=0.7", "./style.gguf:-0.5"])
def test_a_scale_behind_a_reference_points_to_its_option(reference: str) -> None:
    with pytest.raises(UsageError, match=r"--lora-scale -?0"):
        stacked((), [LoraOption(reference)], None)


def test_an_adapter_named_twice_needs_one_scale(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    path = str(write_adapter(tmp_path / "style.gguf", base))
    with pytest.raises(UsageError, match=r"style\.gguf is given twice: give it one scale"):
        stacked((), [LoraOption(path), LoraOption(path, 0.5)], None)
    (spec,) = stacked((), [LoraOption(path, 0.5)], None)
    assert spec.scale == 0.5


def test_equal_adapters_of_two_names_are_told(tmp_path: Path) -> None:
    base = write_base(tmp_path / "base.gguf")
    one = write_adapter(tmp_path / "one.gguf", base)
    two = tmp_path / "two.gguf"
    two.write_bytes(one.read_bytes())
    other = write_adapter(tmp_path / "other.gguf", base, seed=7)
    specs = [AdapterSpec(path.stem, path) for path in (one, other, two)]
    assert equal_adapters(specs) == ("two is the same adapter as one: their scales add up.",)
