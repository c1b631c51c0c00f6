"""The synchronous face: open a base, set a stack, chat, rescale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.api import Base, open_base
from engine.errors import AdapterError, GenerationError, GgufError
from engine.protocol.settings import EngineSettings
from modelfiles.errors import ReferenceNotFoundError
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.peft_folders import pair, write_peft
from tests.support.tiny_models import N_EMBD

GREEDY = Parameters(temperature=0.0, num_predict=16, num_ctx=512, num_thread=1)


@pytest.fixture
def base(tiny: Tiny) -> Iterator[Base]:
    with open_base(tiny.base, GREEDY) as base:
        yield base


def test_a_conversation_is_kept(base: Base) -> None:
    pieces: list[str] = []
    first = base.chat("Hello", on_text=pieces.append)
    assert first == "".join(pieces)
    base.chat("And then?")
    assert [m.role for m in base.messages] == ["user", "assistant"] * 2
    assert base.messages[1].content == first
    assert base.stats is not None
    assert base.stats.n_reused > 0
    base.clear()
    assert base.chat("Hello") == first


def test_a_template_replaces_the_bases_own(base: Base) -> None:
    base.chat("Hello")
    assert base.stats is not None
    n_prompt = base.stats.n_prompt
    base.clear()
    base.template = "{{ .Prompt }}"
    base.chat("Hello")
    assert base.stats.n_prompt == len("Hello") < n_prompt


def test_a_stack_is_set_rescaled_and_described(base: Base, tiny: Tiny) -> None:
    plain = base.chat("Hello")
    base.clear()
    base.set_stack([(tiny.first.path, 1.0), (tiny.second.path, 0.5)])
    assert base.stack.label == "first 1.00 + second 0.50"
    assert [(a.name, a.rank_text, a.alpha) for a in base.adapters] == [
        ("first", "4", 8.0),
        ("second", "8", 8.0),
    ]
    assert all(a.memory_bytes > 0 and a.size_bytes > a.memory_bytes for a in base.adapters)
    assert base.chat("Hello") != plain
    base.clear()
    base.rescale("first", 0.0)
    base.rescale("second", 0.0)
    assert base.chat("Hello") == plain


def test_one_file_twice_gets_two_names_and_adds_up(base: Base, tiny: Tiny) -> None:
    base.set_stack([(tiny.first.path, 0.5), (tiny.first.path, 0.25)])
    assert base.stack.label == "first 0.50 + first-2 0.25"
    twice = base.chat("Hello")
    base.clear()
    base.set_stack([(tiny.first.path, 0.75)])
    assert base.chat("Hello") == twice


def test_a_peft_folder_is_converted_and_kept_where_the_settings_say(
    base: Base, tiny: Tiny, tmp_path: Path
) -> None:
    modules = {"model.layers.1.self_attn.o_proj": pair(N_EMBD, N_EMBD, 4)}
    folder = write_peft(tmp_path / "my.style", modules, alpha=400, r=4)
    plain = base.chat("Hello")
    base.clear()
    base.set_stack([(folder, 0.5), (tiny.first.path, 0.0)])
    assert base.stack.label == "my.style 0.50"
    temporary = base.adapters[0].file
    assert base.chat("Hello") != plain
    base.close()
    assert not temporary.exists()
    settings = EngineSettings(cache_folder=str(tmp_path / "cache"))
    with open_base(tiny.base, GREEDY, settings) as other:
        other.set_stack([(folder, 0.5)])
        assert other.adapters[0].file.parent == tmp_path / "cache" / "converted"
        assert other.adapters[0].sha256 == base.adapters[0].sha256


def test_a_refused_stack_changes_nothing(base: Base, tiny: Tiny, tmp_path: Path) -> None:
    base.set_stack([(tiny.first.path, 1.0)])
    with pytest.raises(ReferenceNotFoundError, match=r"missing\.gguf"):
        base.set_stack([(tmp_path / "missing.gguf", 1.0)])
    with pytest.raises(AdapterError, match=r"base\.gguf"):
        base.set_stack([(tiny.base, 1.0)])
    with pytest.raises(AdapterError, match="'third'"):
        base.rescale("third", 1.0)
    assert base.stack.label == "first 1.00"


def test_a_failed_answer_leaves_the_conversation_as_it_was(base: Base) -> None:
    base.chat("Hello")
    before = list(base.messages)
    with pytest.raises(GenerationError, match="num_ctx"):
        base.chat("word " * 1000)
    assert base.messages == before


def test_a_missing_base_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match=r"missing\.gguf"):
        open_base(tmp_path / "missing.gguf")


def test_a_system_message_is_sent_first(base: Base) -> None:
    plain = base.chat("Hello")
    n_plain = base.stats.n_prompt if base.stats else 0
    base.clear()
    base.system = "Answer like a pirate."
    assert base.chat("Hello") != plain
    assert base.stats is not None
    assert base.stats.n_prompt > n_plain
    assert [m.role for m in base.messages] == ["user", "assistant"]


def test_the_effect_of_a_stack_is_a_number_that_grows_with_the_scale(
    base: Base, tiny: Tiny
) -> None:
    assert base.effect() == 0.0
    base.set_stack([(tiny.first.path, 0.1)])
    weak = base.effect()
    base.rescale("first", 1.0)
    assert base.effect() > weak > 0.0
    base.rescale("first", 0.1)
    assert base.effect() == weak


def test_settings_choose_the_form_of_a_stack(tiny: Tiny) -> None:
    pairs = [(tiny.first.path, 1.0), (tiny.second.path, 1.0)]
    answers = {}
    for fuse in ("always", "never"):
        with open_base(tiny.base, GREEDY, EngineSettings(fuse=fuse)) as base:
            base.set_stack(pairs)
            answers[fuse] = base.chat("Hello")
            assert base.stats is not None
            assert base.stats.form == {"always": "fused", "never": "layered"}[fuse]
    assert answers["always"] == answers["never"]


def test_what_was_read_is_there_the_next_time_where_the_settings_say_so(
    tiny: Tiny, tmp_path: Path
) -> None:
    settings = EngineSettings(cache_folder=str(tmp_path), kv_disk_bytes=2**24)
    for is_next in (False, True):
        with open_base(tiny.base, GREEDY, settings) as base:
            base.chat("Tell me a story of a fox and a crow.")
            assert base.stats is not None
            assert (base.stats.n_reused == base.stats.n_prompt - 1) == is_next
            base.close()  # closing twice does no harm
