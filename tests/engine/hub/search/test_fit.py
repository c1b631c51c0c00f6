"""Whether an adapter fits is told by its header, before the rest is downloaded."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support import tiny_models
from tests.support.fake_hub import TOKEN, FakeHub, Weather
from tests.support.hub_child import HubChild
from tests.support.peft_folders import pair, write_mlx, write_peft

Q = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def hub(child: HubChild, tmp_path: Path) -> FakeHub:
    child.folder = tmp_path
    child.hub.clear()
    return child.hub


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny_models.write_base(tmp_path / "base.gguf")


def told(
    child: HubChild, base: Path, reference: str = "hf.co/ann/lora", token: str = ""
) -> tuple[str, str, int]:
    verdict, reason, n_fetched = child.ask("fit", reference=reference, base=str(base), token=token)
    return verdict, reason, n_fetched


def folder_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def adapter_bytes(tmp_path: Path, base: Path, *, rank: int = 4) -> bytes:
    return tiny_models.write_adapter(tmp_path / "a.gguf", base, rank=rank).read_bytes()


def padded_gguf(tmp_path: Path, base: Path) -> bytes:
    """Return an adapter of several times the size that is asked for at first."""
    return adapter_bytes(tmp_path, base, rank=64)


def test_a_gguf_that_fits_is_told_by_its_beginning(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    data = padded_gguf(tmp_path, base)
    hub.repos["ann/lora"] = {"lora.gguf": data}
    verdict, reason, n_fetched = told(child, base)
    assert (verdict, reason) == ("fits", "")
    assert 0 < n_fetched <= 64 * 1024 < len(data)
    assert sum("resolve" in request for request in hub.requests) == 1


def test_a_model_is_no_adapter(child: HubChild, hub: FakeHub, base: Path) -> None:
    hub.repos["ann/lora"] = {"model.gguf": base.read_bytes()}
    verdict, reason, _ = told(child, base)
    assert verdict == "does not fit"
    assert "hf.co/ann/lora:model.gguf is a model" in reason
    assert "lora-tui-" not in reason


def test_a_model_is_told_without_its_vocabulary(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    path = tiny_models.write_base(tmp_path / "large.gguf", chat_template="long " * 100_000)
    hub.repos["ann/lora"] = {"model.gguf": path.read_bytes()}
    assert "hf.co/ann/lora:model.gguf is a model" in told(child, base)[1]
    assert len([asked for asked in hub.ranges if asked]) == 1


def test_an_adapter_of_another_size_does_not_fit(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    other = tiny_models.write_base(tmp_path / "other.gguf", architecture="qwen2")
    hub.repos["ann/lora"] = {"lora.gguf": adapter_bytes(tmp_path, other)}
    verdict, reason, _ = told(child, base)
    assert verdict == "does not fit"
    assert "'qwen2'" in reason


def test_a_long_header_is_fetched_in_more_steps(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    path = tiny_models.write_adapter(tmp_path / "l.gguf", base, description="long " * 40_000)
    hub.repos["ann/lora"] = {"lora.gguf": path.read_bytes()}
    verdict, _, n_fetched = told(child, base)
    assert verdict == "fits"
    assert n_fetched > 200_000
    assert sum(1 for asked in hub.ranges if asked) == 2


def test_a_server_without_ranges_serves_as_well(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    data = adapter_bytes(tmp_path, base)
    hub.repos["ann/lora"] = {"lora.gguf": data}
    hub.weather.append(Weather("resolve", status=200, headers={"Content-Range": ""}, body=data))
    assert told(child, base)[0] == "fits"


@pytest.mark.parametrize("kind", ["peft", "mlx"])
def test_a_folder_to_convert_is_judged_by_its_header(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path, kind: str
) -> None:
    write = write_peft if kind == "peft" else write_mlx
    files = folder_files(_written(write, tmp_path / "fits", 64))
    hub.repos["ann/lora"] = files
    hub.repos["bob/lora"] = folder_files(_written(write, tmp_path / "other", 128))
    assert told(child, base)[:2] == ("fits", "")
    verdict, reason, _ = told(child, base, "hf.co/bob/lora")
    assert verdict == "does not fit"
    assert "needs 64 x 64: use the base it was made for." in reason
    assert reason.startswith("hf.co/bob/lora adapts ")
    assert "lora-tui-" not in reason


def _written(write: object, folder: Path, width: int) -> Path:
    a, b = pair(width, width, 4, 1)
    if write is write_peft:
        write_peft(folder, {Q: (a, b)}, alpha=8, r=4)
    else:
        write_mlx(folder, {Q: (a, b)}, scale=2.0, r=4)
    return folder


def test_what_cannot_be_converted_says_why(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    a, b = pair(64, 64, 4, 1)
    write_peft(tmp_path / "dora", {Q: (a, b)}, alpha=8, r=4, config={"use_dora": True})
    hub.repos["ann/lora"] = folder_files(tmp_path / "dora")
    verdict, reason, _ = told(child, base)
    assert verdict == "does not fit"
    assert "DoRA" in reason


def test_of_a_pickle_nothing_can_be_told(child: HubChild, hub: FakeHub, base: Path) -> None:
    hub.repos["ann/lora"] = {"adapter_config.json": b"{}", "adapter_model.bin": b"PK"}
    assert told(child, base)[0] == "cannot tell"
    assert not [request for request in hub.requests if "resolve" in request]


LYING: dict[str, bytes] = {
    "not gguf": b"<html>sign in</html>",
    "empty": b"",
    "cut in the header": b"GGUF" + struct.pack("<IQQ", 3, 5, 5),
    "a huge count": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1) + bytes(200_000),
    "random": np.random.default_rng(0).bytes(100_000),
}


@pytest.mark.parametrize("name", LYING)
def test_a_header_that_lies_does_not_fit(
    child: HubChild, hub: FakeHub, base: Path, name: str
) -> None:
    hub.repos["ann/lora"] = {"lora.gguf": LYING[name]}
    verdict, reason, _ = told(child, base)
    assert verdict in ("does not fit", "error")
    assert "hf.co/ann/lora" in reason


def test_a_safetensors_header_of_absurd_length_is_not_fetched(
    child: HubChild, hub: FakeHub, base: Path
) -> None:
    weights = struct.pack("<Q", 2**40) + bytes(100_000)
    hub.repos["ann/lora"] = {"adapter_config.json": b"{}", "adapter_model.safetensors": weights}
    verdict, reason, _ = told(child, base)
    assert verdict in ("does not fit", "error")
    assert "hf.co/ann/lora" in reason
    assert len(hub.ranges) < 6


def test_a_gated_one_says_where_to_accept(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    hub.repos["ann/lora"] = {"lora.gguf": adapter_bytes(tmp_path, base)}
    hub.gated.add("ann/lora")
    verdict, reason, _ = told(child, base)
    assert verdict == "error"
    assert "accept its conditions at https://huggingface.co/ann/lora" in reason
    assert told(child, base, token=TOKEN)[0] == "fits"
    assert told(child, base, token="hf_wrong")[0] == "error"


def test_a_part_of_a_file_that_is_not_what_was_asked_for_is_said(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    hub.repos["ann/lora"] = {"lora.gguf": padded_gguf(tmp_path, base)}
    promised = {"Content-Range": "bytes 0-65535/1000000"}
    hub.weather.append(Weather("GET .*resolve", status=206, headers=promised, body=b""))
    verdict, reason, _ = told(child, base)
    assert verdict == "error"
    assert "another length than was asked for" in reason


def test_of_a_server_without_ranges_no_more_is_read_than_is_needed(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    data = adapter_bytes(tmp_path, base) + bytes(150_000_000)
    hub.repos["ann/lora"] = {"lora.gguf": data}
    hub.weather.append(Weather("GET .*resolve", status=200, body=data))
    before = child.ask("peak")
    assert told(child, base)[0] != "error"
    assert child.ask("peak") - before < 60_000_000


def test_an_empty_file_is_said(child: HubChild, hub: FakeHub, base: Path) -> None:
    hub.repos["ann/lora"] = {"lora.gguf": b""}
    assert told(child, base)[:2] == ("error", "'lora.gguf' of hf.co/ann/lora is empty.")


def test_a_long_configuration_is_read_whole(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    ranks = {f"model.layers.{number}.mlp.experts.{number}": 4 for number in range(3_000)}
    config = {"rank_pattern": ranks}
    folder = write_peft(tmp_path / "peft", {Q: pair(64, 64, 4, 1)}, alpha=8, r=4, config=config)
    hub.repos["ann/lora"] = folder_files(folder)
    assert len(hub.repos["ann/lora"]["adapter_config.json"]) > 100_000
    assert told(child, base)[0] == "fits"


@pytest.mark.parametrize("folder", ["", "sub/"])
def test_what_is_wrong_is_said_of_the_file_that_it_is_wrong_in(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path, folder: str
) -> None:
    written = write_peft(tmp_path / "peft", {Q: pair(64, 64, 4, 1)}, alpha=8, r=4)
    files = folder_files(written) | {"adapter_config.json": b"not JSON"}
    hub.repos["ann/lora"] = {folder + name: data for name, data in files.items()}
    verdict, reason, _ = told(child, base)
    assert verdict == "does not fit"
    assert reason.startswith(f"hf.co/ann/lora:{folder}adapter_config.json cannot be understood")


def test_a_size_that_lies_has_nobody_read_zeros(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    folder = write_peft(tmp_path / "peft", {Q: pair(64, 64, 4, 1)}, alpha=8, r=4)
    hub.repos["ann/lora"] = folder_files(folder)
    n_bytes = len(hub.repos["ann/lora"]["adapter_model.safetensors"])
    lie = {"Content-Range": f"bytes 0-{n_bytes - 1}/9000000000000"}
    hub.weather.append(Weather("GET .*resolve.*safetensors", headers=lie))
    assert told(child, base)[0] in ("error", "cannot tell")


def test_no_room_for_a_header_is_one_sentence(
    child: HubChild, hub: FakeHub, base: Path, tmp_path: Path
) -> None:
    hub.repos["ann/lora"] = {"lora.gguf": adapter_bytes(tmp_path, base)}
    verdict, reason, _ = child.ask("fit", reference="hf.co/ann/lora", base=str(base), full_at=1000)
    assert verdict == "error"
    assert "cannot be kept in" in reason
    assert "File too large" in reason
