"""Check a GGUF adapter for upload to the Hub and collect the facts for its card."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

from engine.adapters.checking.finite import not_finite_tensors
from engine.adapters.fusing.file import NAMES_KEY, fused_stack
from engine.adapters.pairs import pairs_of
from engine.adapters.read import read_adapter
from engine.errors import AdapterError
from engine.gguf.header import GgufHeader, read_header
from engine.gguf.metadata import ValueType
from engine.hub.push.publication import OutgoingFile, Publication
from modelfiles.references.hub import HubReference

# Metadata keys written when a stack is compressed and when an adapter is extracted.
_KEPT: Final = {
    "lora_tui.fused.kept": "of the energy of the stack it was fused from",
    "lora_tui.extract.kept": "of the difference it was extracted from",
}
_SHORT_DIGEST: Final = 12
_LAYER: Final = re.compile(r"\Ablk\.\d+\.")


def gguf_publication(path: Path, name: str | None = None) -> Publication:
    """Check a GGUF adapter and return its publication.

    `name` is its file name in the repository, without extension; by default the file's own.
    Raises `AdapterError` if the file is a model, is not a LoRA, breaks an adapter rule or holds
    NaN or infinity, and `GgufError` if it is not a sound GGUF file.
    """
    adapter = read_adapter(path, name)
    header = read_header(adapter.file)
    bad = next(not_finite_tensors(header), None)
    if bad is not None:
        raise AdapterError(
            f"holds NaN or infinity in {bad!r}: its training diverged or the file is damaged; "
            "publish another.",
            path,
        )
    stem = name or (path.stem if path.suffix.lower() == ".gguf" else adapter.name)
    file = OutgoingFile(f"{stem}.gguf", adapter.file, adapter.size_bytes, adapter.sha256)
    facts = [
        ("architecture", adapter.architecture),
        ("rank", adapter.rank_text),
        # With alpha 0, llama.cpp does not apply alpha / rank to the scale.
        ("alpha", f"{adapter.alpha:g}" if adapter.alpha else "in the weights"),
        ("adapted", _targets_text(header)),
        ("weights", _types_text(header)),
    ]
    for key, what in _KEPT.items():
        kept = header.number(key)
        if kept is not None and math.isfinite(kept):
            facts.append(("kept", f"{kept:.2%} {what}"))
    if adapter.invocation_tokens:
        tokens = ", ".join(map(str, adapter.invocation_tokens))
        facts.append(("acts from", f"the invocation tokens {tokens} on (activated LoRA)"))
    return Publication(
        kind="gguf",
        method="LORA",
        is_usable=True,
        title=header.text("general.name") or stem,
        files=(file,),
        base_id=_base_id(header),
        facts=tuple(facts),
        description=adapter.description,
        stack=_stack(header),
    )


def hub_id(text: str) -> str | None:
    """Return the repository that `org/name` or a URL names; None if it names none."""
    address = text if "://" in text or text.startswith("hf.co/") else f"hf.co/{text}"
    try:
        reference = HubReference.parse(address, "model")
    except ValueError:
        return None
    return reference.repo if reference is not None else None


def _base_id(header: GgufHeader) -> str:
    url = header.text("general.base_model.0.repo_url") or ""
    return (hub_id(url) if "://" in url else None) or ""


def _targets_text(header: GgufHeader) -> str:
    pairs = pairs_of(header)
    kinds = dict.fromkeys(_LAYER.sub("", pair.target).removesuffix(".weight") for pair in pairs)
    tensors = "1 tensor" if len(pairs) == 1 else f"{len(pairs)} tensors"
    return f"{', '.join(kinds)} ({tensors})"


def _types_text(header: GgufHeader) -> str:
    return ", ".join(dict.fromkeys(tensor.type.name for tensor in header.tensors.values()))


def _stack(header: GgufHeader) -> tuple[tuple[str, float], ...]:
    """Return name and scale of each adapter this one was fused from.

    The first 12 digits of a digest stand in for a name if the file holds no matching names.
    """
    stack = fused_stack(header)
    if stack is None:
        return ()
    names = header.array(NAMES_KEY, ValueType.STRING) or ()
    if len(names) != len(stack):
        names = tuple(sha256[:_SHORT_DIGEST] for sha256, _ in stack)
    return tuple((name, scale) for name, (_, scale) in zip(names, stack, strict=True))
