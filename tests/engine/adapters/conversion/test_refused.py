"""What PEFT saved and a GGUF adapter cannot hold is refused by name, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.conversion.convert import convert
from engine.errors import EngineError
from tests.support.places import REFERENCES

BASE = REFERENCES / "architectures" / "llama" / "base.gguf"
NAMED = {
    "pissa": "pissa",
    "olora": "olora",
    "dora": "dora",
    "bias": "bias",
    "modules-to-save": "lm_head.weight",
    "trainable-tokens": "token embedding",
    "layer-replication": "repeated layers",
    "loha": "loha",
    "lokr": "lokr",
    "ia3": "ia3",
    "oft": "oft",
    "vera": "vera",
}
"""What the message names, in small letters, whatever else it says."""


@pytest.mark.parametrize("name", NAMED)
def test_the_message_names_what_is_not_plain_lora(name: str, tmp_path: Path) -> None:
    out = tmp_path / "adapter.gguf"
    with pytest.raises(EngineError) as raised:
        convert(REFERENCES / "refused" / name, BASE, out, out_type="f32")
    assert NAMED[name] in str(raised.value).lower()
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_every_stored_folder_is_tried() -> None:
    assert {path.name for path in (REFERENCES / "refused").iterdir()} == set(NAMED)
