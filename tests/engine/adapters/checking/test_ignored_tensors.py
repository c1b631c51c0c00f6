"""What llama.cpp takes but does not apply is said, without refusing the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.checking.check import check_headers
from engine.adapters.checking.ignored_tensors import notices, unused_targets
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.metadata import ValueType
from tests.engine.adapters.broken_adapters import INVOCATION, zeros
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.tiny_models import write_adapter, write_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base.gguf")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return write_adapter(tmp_path / "adapter.gguf", base)


def with_architecture(path: Path, architecture: str, renamed: dict[str, str]) -> GgufHeader:
    """Return the header of the file under another architecture, with tensors renamed."""
    raw = RawGguf.read(path)
    raw.metadata["general.architecture"] = text(architecture)
    for old, new in renamed.items():
        raw.tensors = {name.replace(old, new): tensor for name, tensor in raw.tensors.items()}
    return read_header(raw.write(path.with_stem(f"{architecture}-{path.stem}")))


def test_an_ordinary_adapter_has_no_notices(base: Path, adapter: Path) -> None:
    assert notices(read_header(adapter), read_header(base)) == ()
    assert unused_targets(read_header(adapter), read_header(base)) == ()


def test_norms_are_said_to_be_ignored(base: Path, adapter: Path) -> None:
    raw = RawGguf.read(adapter)
    raw.tensors["blk.0.attn_norm.weight"] = raw.tensors["blk.1.attn_norm.weight"] = zeros(64)
    header = read_header(raw.write(adapter))
    (notice,) = notices(header, read_header(base))
    assert "2 tensors, the first 'blk.0.attn_norm.weight'" in notice
    assert "ignores norms" in notice
    assert check_headers(header, read_header(base)) == ()


def test_a_pair_on_a_vector_is_said_to_do_nothing(base: Path, adapter: Path) -> None:
    raw = RawGguf.read(adapter)
    raw.tensors["output_norm.weight.lora_a"] = zeros(1, 64)
    raw.tensors["output_norm.weight.lora_b"] = zeros(1, 1)
    header = read_header(raw.write(adapter))
    assert unused_targets(header, read_header(base)) == ("output_norm.weight",)
    (notice,) = notices(header, read_header(base))
    assert "Only 14 of the adapter's 15 tensors take effect" in notice
    assert check_headers(header, read_header(base)) == ()


def test_latent_attention_is_said_to_be_out_of_reach(base: Path, adapter: Path) -> None:
    renamed = {"attn_k.": "attn_kv_a_mqa.", "attn_v.": "attn_v_b."}
    header = with_architecture(adapter, "deepseek2", renamed)
    model = with_architecture(base, "deepseek2", renamed)
    unused = {name.split(".")[2] for name in unused_targets(header, model)}
    assert unused == {"attn_q", "attn_kv_a_mqa", "attn_v_b"}
    (notice,) = notices(header, model)
    assert "Only 8 of the adapter's 14 tensors take effect" in notice
    assert "deepseek2" in notice
    assert check_headers(header, model) == ()


def test_an_adapter_of_which_nothing_is_used_is_said_to_do_nothing(
    tmp_path: Path, base: Path
) -> None:
    adapter = write_adapter(tmp_path / "q.gguf", base, targets=["attn_q"])
    header = with_architecture(adapter, "plm", {})
    (notice,) = notices(header, with_architecture(base, "plm", {}))
    assert "None of the adapter's tensors take effect" in notice


def test_an_adapter_that_waits_for_its_invocation_tokens_says_so(base: Path, adapter: Path) -> None:
    raw = RawGguf.read(adapter)
    raw.metadata[INVOCATION] = RawValue(ValueType.ARRAY, [1, 2], ValueType.UINT32)
    header = read_header(raw.write(adapter))
    (notice,) = notices(header, read_header(base))
    assert "acts only after its invocation tokens" in notice
    assert check_headers(header, read_header(base)) == ()


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("gemma3n", "per_layer_model_proj"),
        ("gemma4", "per_layer_model_proj"),
        ("nemotron_h", "blk.0.ffn_latent_up"),
    ],
)
def test_a_matrix_that_the_graph_multiplies_plainly_is_said_to_do_nothing(
    base: Path, adapter: Path, architecture: str, name: str
) -> None:
    renamed = {"blk.0.ffn_up": name}
    headers = [with_architecture(path, architecture, renamed) for path in (adapter, base)]
    assert unused_targets(*headers) == (f"{name}.weight",)
