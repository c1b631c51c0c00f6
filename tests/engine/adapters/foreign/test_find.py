"""A person names a folder or a file: the adapter they mean is found, or they are told why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.adapters.foreign.find import adapter_title
from engine.adapters.foreign.read import read_source
from engine.errors import AdapterError
from tests.support.peft_folders import pair, write_mlx, write_peft
from tests.support.tiny_models import write_base

Q = "model.layers.0.self_attn.q_proj"
PAIR = pair(6, 4, 2)


def adapter(folder: Path, alpha: float = 2) -> Path:
    """Write a PEFT adapter of rank 2 whose alpha tells it from others; returns the folder."""
    return write_peft(folder, {Q: PAIR}, alpha=alpha, r=2)


def alpha_of(path: Path) -> float:
    return read_source(path).modules[0].scale * 2


def refusal(path: Path) -> str:
    """Return the one sentence that says why there is no adapter."""
    with pytest.raises(AdapterError) as error:
        read_source(path)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_folder_a_file_of_weights_and_the_configuration_name_one_adapter(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "Style")
    named = [folder, folder / "adapter_model.safetensors", folder / "adapter_config.json"]
    sources = [read_source(path) for path in named]
    assert [source.path for source in sources] == named
    for source in sources:
        assert source.files == (
            folder / "adapter_config.json",
            folder / "adapter_model.safetensors",
        )
        assert source.kind == "peft"
        assert source.title == "Style"
        assert source.base_name == "example/tiny"
        assert source.sha256 == sources[0].sha256


def test_equal_content_has_an_equal_hash_wherever_it_lies(tmp_path: Path) -> None:
    first, second = adapter(tmp_path / "a"), adapter(tmp_path / "b")
    assert read_source(first).sha256 == read_source(second).sha256
    assert read_source(first).sha256 != read_source(adapter(tmp_path / "c", alpha=3)).sha256
    weights = second / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert read_source(first).sha256 != read_source(second).sha256


def test_safetensors_are_preferred_to_torchs_format(tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    (folder / "adapter_model.bin").write_bytes(b"PK\x03\x04 not even an archive")
    assert read_source(folder).files[1].name == "adapter_model.safetensors"


def test_the_weights_of_the_program_the_configuration_is_of_are_taken(tmp_path: Path) -> None:
    write_peft(tmp_path, {Q: PAIR}, alpha=2, r=2)
    write_mlx(tmp_path, {Q: PAIR}, scale=2, r=2)
    assert read_source(tmp_path).kind == "mlx"
    write_peft(tmp_path, {Q: PAIR}, alpha=2, r=2)
    assert read_source(tmp_path).files[1].name == "adapter_model.safetensors"


def test_another_checkpoint_of_mlx_can_be_named(tmp_path: Path) -> None:
    write_mlx(tmp_path, {Q: PAIR}, scale=2, r=2)
    (tmp_path / "adapters.safetensors").rename(tmp_path / "0000100_adapters.safetensors")
    source = read_source(tmp_path / "0000100_adapters.safetensors")
    assert source.files[1].name == "0000100_adapters.safetensors"


def test_the_newest_checkpoint_is_taken(tmp_path: Path) -> None:
    for step in (50, 1000, 200):
        adapter(tmp_path / f"checkpoint-{step}", alpha=step)
    (tmp_path / "runs").mkdir()
    assert alpha_of(tmp_path) == 1000
    (notice,) = read_source(tmp_path).notices
    assert "Of 3 checkpoints the newest was taken, checkpoint-1000" in notice
    assert read_source(tmp_path).title == f"{tmp_path.name} checkpoint-1000"
    assert alpha_of(tmp_path / "checkpoint-50") == 50


def test_an_unfinished_checkpoint_is_passed_over(tmp_path: Path) -> None:
    adapter(tmp_path / "checkpoint-1")
    (adapter(tmp_path / "checkpoint-2") / "adapter_model.safetensors").unlink()
    assert alpha_of(tmp_path) == 2
    assert "'checkpoint-1'" in read_source(tmp_path).notices[0]


def test_the_folder_itself_goes_before_its_checkpoints(tmp_path: Path) -> None:
    adapter(tmp_path, alpha=7)
    adapter(tmp_path / "checkpoint-9")
    assert alpha_of(tmp_path) == 7
    assert read_source(tmp_path).notices == ()


def test_the_output_of_llama_factory_is_read(tmp_path: Path) -> None:
    adapter(tmp_path, alpha=7)
    adapter(tmp_path / "checkpoint-500")
    (tmp_path / "training_args.bin").write_bytes(b"PK\x03\x04")
    (tmp_path / "trainer_state.json").write_text("{}")
    (tmp_path / "README.md").write_text("---\nlibrary_name: peft\nlicense: other\n---\n")
    assert alpha_of(tmp_path) == 7
    assert read_source(tmp_path).files[1].name == "adapter_model.safetensors"


def test_the_output_of_axolotl_is_read(tmp_path: Path) -> None:
    for step in (10, 20):
        folder = tmp_path / f"checkpoint-{step}"
        write_peft(folder, {Q: PAIR}, alpha=step, r=2, storage="bin")
        (folder / "optimizer.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "model.safetensors").write_bytes(b"x")
    assert alpha_of(tmp_path) == 20
    assert read_source(tmp_path).files[1].name == "adapter_model.bin"


def test_adapters_that_were_saved_by_name_beside_the_first_are_told(tmp_path: Path) -> None:
    adapter(tmp_path, alpha=7)
    adapter(tmp_path / "pirate")
    adapter(tmp_path / "formal")
    assert alpha_of(tmp_path) == 7
    (notice,) = read_source(tmp_path).notices
    assert notice.endswith("name it to use one of 'formal', 'pirate'.")


def test_the_only_adapter_in_a_folder_is_taken(tmp_path: Path) -> None:
    adapter(tmp_path / "pirate", alpha=5)
    (tmp_path / "logs").mkdir()
    assert alpha_of(tmp_path) == 5


def test_several_adapters_are_listed(tmp_path: Path) -> None:
    for name in ("pirate", "formal", "checkpoint-3"):
        adapter(tmp_path / name)
    assert "name one of 'checkpoint-3', 'formal', 'pirate'." in refusal(tmp_path)


def test_many_adapters_are_not_all_listed(tmp_path: Path) -> None:
    for index in range(20):
        adapter(tmp_path / f"style{index:02}")
    assert "'style07' and 12 more." in refusal(tmp_path)


def test_the_hubs_cache_gives_the_name_of_the_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models--someone--pirate-lora" / "snapshots" / "0123abcd"
    assert adapter_title(folder) == "pirate-lora"
    assert read_source(adapter(folder)).title == "pirate-lora"


CARDS = {
    "a name and a base": (
        "---\nbase_model: org/base\nlibrary_name: peft\nmodel_name: my-run\n---\n# Hello",
        ("my-run", "org/base"),
    ),
    "a list of bases": (
        "---\ntags:\n- lora\nbase_model:\n- 'org/base'\n- org/other\n---\n",
        ("folder", "org/base"),
    ),
    "carriage returns": ('---\r\nbase_model: "org/base"\r\n---\r\n', ("folder", "org/base")),
    "no front matter": ("# base_model: org/base\n", ("folder", "")),
    "a front matter without an end": ("---\nbase_model: org/base\n", ("folder", "")),
    "an empty base": ("---\nbase_model:\ntags: x\n---\n", ("folder", "")),
    "control characters": ("---\nmodel_name: a\x1b[31mb\n---\n", ("folder", "")),
}


@pytest.mark.parametrize("case", CARDS)
def test_the_readme_gives_the_name_and_the_base(tmp_path: Path, case: str) -> None:
    card, (title, base) = CARDS[case]
    folder = write_peft(
        tmp_path / "folder", {Q: PAIR}, alpha=2, r=2, config={"base_model_name_or_path": None}
    )
    (folder / "README.md").write_text(card, newline="")
    source = read_source(folder)
    assert (source.title, source.base_name) == (title, base)


def test_the_configuration_goes_before_the_readme(tmp_path: Path) -> None:
    folder = adapter(tmp_path)
    (folder / "README.md").write_text("---\nbase_model: org/other\n---\n")
    assert read_source(folder).base_name == "example/tiny"


def test_nothing_there(tmp_path: Path) -> None:
    assert "does not exist: check the path" in refusal(tmp_path / "absent")
    assert "cannot be read: File name too long" in refusal(tmp_path / ("a" * 300))
    assert "does not exist: check the path" in refusal(Path("a\0b"))


def test_a_folder_without_an_adapter(tmp_path: Path) -> None:
    assert "holds no adapter: name a folder with adapter_config.json" in refusal(tmp_path)


def test_a_folder_with_a_whole_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x")
    assert "holds a whole model, not an adapter" in refusal(tmp_path)


def test_a_gguf_file_is_no_source(tmp_path: Path) -> None:
    path = write_base(tmp_path / "base.gguf")
    assert "is GGUF already and needs no conversion" in refusal(path)
    assert "'base.gguf', which is GGUF already" in refusal(tmp_path)
    path.rename(tmp_path / "adapter_model.safetensors")
    write = adapter(tmp_path / "x")
    (write / "adapter_config.json").rename(tmp_path / "adapter_config.json")
    assert "is GGUF already" in refusal(tmp_path)


def test_a_configuration_without_weights(tmp_path: Path) -> None:
    (adapter(tmp_path) / "adapter_model.safetensors").unlink()
    message = refusal(tmp_path)
    assert "no weights (adapter_model.safetensors or adapter_model.bin)" in message


def test_weights_without_a_configuration(tmp_path: Path) -> None:
    (adapter(tmp_path) / "adapter_config.json").unlink()
    assert "no adapter_config.json beside" in refusal(tmp_path)
    assert "no adapter_config.json beside" in refusal(tmp_path / "adapter_model.safetensors")


def test_weights_that_were_not_downloaded(tmp_path: Path) -> None:
    weights = adapter(tmp_path) / "adapter_model.safetensors"
    weights.write_bytes(b"")
    assert "is empty: download or copy it again" in refusal(tmp_path)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "is a git-lfs pointer" in refusal(tmp_path)
    weights.write_bytes(b"<!doctype html>")
    assert "is a web page" in refusal(tmp_path)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "holds no adapter weights" in refusal(tmp_path / "notes.txt")


def test_files_that_are_no_files(tmp_path: Path) -> None:
    weights = adapter(tmp_path) / "adapter_model.safetensors"
    weights.unlink()
    weights.mkdir()
    assert "is not a regular file" in refusal(tmp_path)
    weights.rmdir()
    os.mkfifo(weights)
    assert "is not a regular file" in refusal(tmp_path)
    weights.unlink()
    weights.symlink_to(tmp_path / "gone")
    assert "no weights" in refusal(tmp_path)


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop" in refusal(tmp_path / "loop")
