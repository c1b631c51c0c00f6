"""Fill a hub with a GGUF adapter that fits a base, one that does not, a PEFT one and a model."""

from __future__ import annotations

from pathlib import Path

from tests.support import tiny_models
from tests.support.fake_hub import FakeHub
from tests.support.peft_folders import pair, write_peft

LORA = "hf.co/ann/pirate-lora"
_ADAPTED = "model.layers.0.self_attn.q_proj"


def fill_hub(hub: FakeHub, folder: Path) -> None:
    """Serve only `ann/pirate-lora`, `ann/qwen-lora`, `ann/peft-lora` and `ann/tiny-GGUF`.

    All but `ann/qwen-lora` fit `base.gguf` in `folder`.
    """
    hub.clear()
    base = tiny_models.write_base(folder / "base.gguf")
    other = tiny_models.write_base(folder / "other.gguf", architecture="qwen2")
    write_peft(folder / "peft", {_ADAPTED: pair(64, 64, 4, 1)}, alpha=8, r=4)
    hub.repos |= {
        "ann/pirate-lora": {"lora.gguf": adapter_of(base)},
        "ann/qwen-lora": {"lora.gguf": adapter_of(other)},
        "ann/peft-lora": {path.name: path.read_bytes() for path in (folder / "peft").iterdir()},
        "ann/tiny-GGUF": {"tiny-Q4_K_M.gguf": base.read_bytes()},
    }


def adapter_of(base: Path) -> bytes:
    """Return an adapter that fits a base."""
    return tiny_models.write_adapter(base.with_suffix(".lora"), base).read_bytes()
