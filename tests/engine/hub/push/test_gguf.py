"""What of an adapter is published: checked files, and what is known of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from engine.adapters.fusing.fuse import FusePart, fuse
from engine.errors import EngineError, HubError
from engine.gguf.header import read_header
from engine.gguf.metadata import ValueType
from engine.hub.push.gguf import gguf_publication, hub_id
from engine.hub.push.model_card import completed_card, generated_card
from engine.hub.push.peft import CONFIG, WEIGHTS, peft_publication
from tests.engine.conftest import Tiny
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.peft_folders import write_peft
from tests.support.tiny_models import write_adapter

MODULE = "model.layers.0.self_attn.q_proj"


def front_matter(card: str) -> dict[str, Any]:
    return dict(ModelCard(card).data.to_dict())


def write_verses(folder: Path, **config: object) -> Path:
    rng = np.random.default_rng(3)
    pair = (rng.standard_normal((2, 64)), rng.standard_normal((64, 2)))
    return write_peft(folder, {MODULE: pair}, alpha=4, r=2, config=config)


def test_a_gguf_is_published_with_its_digest_and_the_base_it_names(
    tiny: Tiny, tmp_path: Path
) -> None:
    raw = RawGguf.read(tiny.first.file)
    raw.metadata["general.base_model.0.repo_url"] = text("https://huggingface.co/org/Base-1B")
    path = raw.write(tmp_path / "named.gguf")
    publication = gguf_publication(path)
    assert publication.base_id == "org/Base-1B"
    (file,) = publication.files
    assert (file.name, file.path) == ("named.gguf", path)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert front_matter(generated_card(publication, "me/x", "hf.co/me/x"))["base_model"] == (
        "org/Base-1B"
    )


def test_a_file_of_the_model_store_gets_the_name_it_has_there(tiny: Tiny, tmp_path: Path) -> None:
    blob = tmp_path / "sha256-0123"
    blob.write_bytes(tiny.first.file.read_bytes())
    assert gguf_publication(blob, "pirate").files[0].name == "pirate.gguf"


def test_a_card_tells_what_an_adapter_was_fused_from(tiny: Tiny, tmp_path: Path) -> None:
    parts = [
        FusePart(read_header(adapter.file), adapter.sha256, scale)
        for adapter, scale in ((tiny.first, 0.7), (tiny.second, -0.25))
    ]
    fuse(parts, tmp_path / "mix.gguf")
    publication = gguf_publication(tmp_path / "mix.gguf")
    card = generated_card(publication, "me/mix", "hf.co/me/mix")
    assert "## Fused from" in card
    assert f"| {tiny.first.sha256[:12]} | 0.7 |" in card
    assert f"| {tiny.second.sha256[:12]} | -0.25 |" in card


def test_text_of_the_file_cannot_write_into_the_card(tiny: Tiny, tmp_path: Path) -> None:
    path = write_adapter(
        tmp_path / "odd.gguf",
        tiny.base,
        name="a\n---\n# b",
        description="<script>|x\n\n## Use\n\x1b[31m",
    )
    card = generated_card(gguf_publication(path), "me/x", "hf.co/me/x")
    assert front_matter(card)["tags"] == ["lora", "gguf", "adapter"]
    assert card.count("\n## Use\n") == 1
    assert "<script>" not in card.replace("\\<", "")
    assert "\x1b" not in card


def test_of_a_folder_rank_and_alpha_come_from_its_configuration(tmp_path: Path) -> None:
    folder = write_verses(
        tmp_path / "verses", use_rslora=True, rank_pattern={"q_proj": 4}, r=16, lora_alpha=32
    )
    publication = peft_publication(folder)
    assert dict(publication.facts) == {
        "method": "LORA",
        "rank": "16",
        "alpha": "32",
        "rank by module": "q_proj: 4",
        "variant": "use_rslora",
        "adapted": "q_proj",
        "weights": "2 tensors, F32",
    }
    assert [file.name for file in publication.files] == [CONFIG, WEIGHTS]
    card = generated_card(publication, "me/verses", "hf.co/me/verses")
    assert front_matter(card) == {
        "base_model": "example/tiny",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "tags": ["lora", "adapter"],
    }
    assert 'PeftModel.from_pretrained(base, "me/verses")' in card


def test_a_base_that_is_a_path_is_no_base_and_is_told(tmp_path: Path) -> None:
    home = tmp_path / "somebody" / "base"
    home.mkdir(parents=True)
    folder = write_verses(tmp_path / "verses", base_model_name_or_path=str(home))
    publication = peft_publication(folder)
    assert publication.base_id == ""
    assert "is published with that text" in publication.notices[0]
    assert str(home) not in generated_card(publication, "me/x", "hf.co/me/x")


def test_a_card_stays_short_whatever_the_configuration_says(tmp_path: Path) -> None:
    paths = [f"model.layers.{n}.self_attn.{name}_proj" for n in range(99) for name in "qv"]
    folder = write_verses(
        tmp_path / "verses",
        target_modules=paths,
        rank_pattern=dict.fromkeys(paths, 2),
        lora_alpha=10**400,
    )
    facts = dict(peft_publication(folder).facts)
    assert facts["adapted"] == "q_proj, v_proj"
    assert facts["rank by module"].endswith(" and 186 more")
    assert "alpha" not in facts
    regex = write_verses(tmp_path / "regex", target_modules="x" * 5000)
    assert len(generated_card(peft_publication(regex), "me/x", "hf.co/me/x")) < 1500


@pytest.mark.parametrize("base", ["x" * 5000, "~no-such-user/base", "a\0/b", "/gone/base", "./b"])
def test_a_base_that_can_be_no_repository_is_none(base: str, tmp_path: Path) -> None:
    folder = write_verses(tmp_path / "verses", base_model_name_or_path=base)
    publication = peft_publication(folder)
    assert publication.base_id == ""
    assert all("\n" not in notice and "\0" not in notice for notice in publication.notices)


def test_a_card_without_front_matter_gets_one_and_keeps_its_lines(tmp_path: Path) -> None:
    publication = peft_publication(write_verses(tmp_path / "verses"))
    card = completed_card("# Verses\r\n\r\nMine.\r\n", publication, is_base_chosen=False)
    assert card.endswith("# Verses\r\n\r\nMine.\r\n")
    assert front_matter(card)["base_model"] == "example/tiny"


def test_what_a_card_says_is_changed_only_where_the_base_was_chosen(tmp_path: Path) -> None:
    publication = peft_publication(write_verses(tmp_path / "verses"))
    card = "---\nbase_model: org/other\nlibrary_name: transformers\n---\nText\n"
    kept = front_matter(completed_card(card, publication, is_base_chosen=False))
    assert (kept["base_model"], kept["library_name"]) == ("org/other", "transformers")
    chosen = front_matter(completed_card(card, publication, is_base_chosen=True))
    assert chosen["base_model"] == "example/tiny"


@pytest.mark.parametrize("front", ["- a list", "{", "a: [1", "tags: x\ntags: {"])
def test_front_matter_that_cannot_be_read_is_one_sentence(front: str, tmp_path: Path) -> None:
    publication = peft_publication(write_verses(tmp_path / "verses"))
    with pytest.raises(HubError, match=r"front matter of README\.md cannot be read") as caught:
        completed_card(f"---\n{front}\n---\nText\n", publication, is_base_chosen=False)
    assert "\n" not in str(caught.value)


def test_a_broken_gguf_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    content = tiny.first.file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(content[:-100])
    nan = np.full(64, np.nan, dtype="<f4").tobytes()
    odd = tmp_path / "nan.gguf"
    odd.write_bytes(content[: -len(nan)] + nan)
    for path, reason in (
        (cut, "cut.gguf"),
        (odd, "holds NaN or infinity"),
        (tiny.base, "is a model"),
    ):
        with pytest.raises(EngineError, match=reason):
            gguf_publication(path)


def test_a_broken_folder_is_refused(tmp_path: Path) -> None:
    sound = write_verses(tmp_path / "sound")
    config, weights = (sound / CONFIG).read_bytes(), (sound / WEIGHTS).read_bytes()
    for number, (contents, reason) in enumerate(
        (
            ({}, f"holds no {CONFIG}: name the folder that PEFT saved"),
            ({"checkpoint-9/" + CONFIG: config}, "name one of the folders in it, 'checkpoint-9'"),
            ({CONFIG: config}, f"holds no {WEIGHTS}"),
            (
                {CONFIG: config, "adapter_model.bin": b"PK"},
                "holds a pickle, adapter_model.bin, which can run code",
            ),
            ({CONFIG: config, WEIGHTS: weights[:-1]}, "is damaged: its tensors end at byte"),
            ({CONFIG: config, WEIGHTS: weights + b"\0"}, "is damaged: its tensors end at"),
            ({CONFIG: config, WEIGHTS: weights[:4]}, "is damaged: "),
            ({CONFIG: config, WEIGHTS: b"\xff" * 64}, "is damaged: "),
            ({CONFIG: config, WEIGHTS: weights[:8] + weights[9:]}, "is damaged: "),
            ({CONFIG: b"{", WEIGHTS: weights}, "cannot be understood"),
            ({CONFIG: b"{}", WEIGHTS: weights}, "names no peft_type"),
            ({CONFIG: b"\xff\xfe", WEIGHTS: weights}, "cannot be understood"),
        )
    ):
        folder = tmp_path / str(number)
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        with pytest.raises(EngineError, match=reason) as caught:
            peft_publication(folder)
        assert "\n" not in str(caught.value)


def test_an_id_is_two_words_or_the_address_of_them() -> None:
    for text_ in ("org/name", "hf.co/org/name", "https://huggingface.co/org/name"):
        assert hub_id(text_) == "org/name"
    for text_ in ("name", "/org/name", "./org/name", "../x/y", "https://example.org/a/b", ""):
        assert hub_id(text_) is None


def test_an_adapter_that_is_no_plain_lora_is_published_as_what_it_is(tmp_path: Path) -> None:
    folder = write_verses(tmp_path / "verses", peft_type="LOHA")
    publication = peft_publication(folder)
    assert "cannot be used here: " in publication.notices[0]
    card = generated_card(publication, "me/x", "hf.co/me/x")
    assert front_matter(card)["tags"] == ["loha", "adapter"]
    assert "A LOHA adapter for" in card
    assert "tui run" not in card
    dora = peft_publication(write_verses(tmp_path / "dora", use_dora=True))
    assert not dora.is_usable
    assert "variant | use\\_dora" in generated_card(dora, "me/x", "hf.co/me/x")


def test_a_folder_with_numbers_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    pair = (np.ones((2, 64)), np.full((64, 2), np.inf))
    folder = write_peft(tmp_path / "odd", {MODULE: pair}, alpha=4, r=2)
    with pytest.raises(EngineError, match=r"holds NaN or infinity in '.*lora_B"):
        peft_publication(folder)


def test_what_compression_or_extraction_kept_is_in_the_card(tiny: Tiny, tmp_path: Path) -> None:
    raw = RawGguf.read(tiny.first.file)
    raw.metadata["lora_tui.extract.kept"] = RawValue(ValueType.FLOAT32, 0.9625)
    publication = gguf_publication(raw.write(tmp_path / "part.gguf"))
    assert ("kept", "96.25% of the difference it was extracted from") in publication.facts
