"""Fill a loopback hub with adapters for a tiny base: some to pull, many to scroll through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.fake_hub import FakeHub
from tests.support.peft_folders import pair, write_peft
from tests.support.tiny_models import N_EMBD, write_adapter, write_base

REPO = "example/tiny"
"""The repository that the base's metadata names."""
TAG = f"base_model:adapter:{REPO}"
LORA, PEFT, WRONG, GATED, SEVERAL = (
    "ann/tiny-sql-lora",
    "bob/tiny-style",
    "cid/other-width-lora",
    "dan/closed-lora",
    "eve/checkpoints",
)
CARD = """---
license: mit
---
<!-- hidden -->
# SQL for Tiny

Turns **questions** into SQL. ![plot](https://example.com/plot.png) See [the paper](https://example.com/p).

<div align="center">centred</div>

- one\x1b[31m red
- two

```sql
select <b> from t;
```
"""


def fill(hub: FakeHub, folder: Path, base: Path, *, n_others: int = 0) -> None:
    """Add the repositories above to the hub, and `n_others` without usable files."""
    lora = write_adapter(folder / "hub-lora.gguf", base, seed=7, name="trained").read_bytes()
    second = write_adapter(folder / "hub-second.gguf", base, seed=8).read_bytes()
    put(hub, LORA, {"lora.gguf": lora, "README.md": CARD.encode()}, 90_000, likes=12)
    peft = write_peft(folder / "hub-peft", _modules(N_EMBD), alpha=8, r=4)
    put(hub, PEFT, _files(peft), 8_000, likes=40, licence="apache-2.0")
    wide = write_peft(folder / "hub-wide", _modules(2 * N_EMBD), alpha=8, r=4)
    put(hub, WRONG, _files(wide), 700)
    put(hub, GATED, {"lora.gguf": lora}, 600)
    hub.gated.add(GATED)
    put(hub, SEVERAL, {"first.gguf": lora, "second.gguf": second}, 500)
    for number in range(n_others):
        name = f"user{number:03}/tiny-adapter-{number:03}"
        put(hub, name, {"README.md": b"# Nothing"}, n_others - number, likes=number)


def put(
    hub: FakeHub,
    repo: str,
    files: dict[str, bytes],
    downloads: int,
    *,
    likes: int = 1,
    licence: str = "mit",
    tags: tuple[str, ...] = (TAG, "lora"),
    modified: str = "2026-05-01T10:00:00.000Z",
) -> None:
    """Add one repository to the hub."""
    hub.repos[repo] = files
    hub.facts[repo] = {
        "downloads": downloads,
        "likes": likes,
        "tags": list(tags),
        "lastModified": modified,
        "cardData": {"license": licence, "base_model": REPO},
    }


def write_named_base(path: Path) -> Path:
    """Write the tiny base with the name of its repository in the metadata."""
    return write_base(path, n_ctx_train=32768, repo=REPO)


def _modules(width: int) -> dict[str, Any]:
    return {
        f"model.layers.{layer}.self_attn.{name}_proj": pair(width, width, 4, seed=layer)
        for layer in range(2)
        for name in "qo"
    }


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
