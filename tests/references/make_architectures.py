"""Computes what a base with a PEFT adapter must answer, for every architecture of the table.

Of each architecture a tiny random model is written as GGUF by llama.cpp's own converter, its
adapters as PEFT saves them, the logits transformers and PEFT compute, and the hashes of what
llama.cpp's convert_lora_to_gguf.py makes of the plain adapter where that is right. Run from the
root of the project with the extra `peft` installed and a source folder of llama.cpp 0c1e57098:

    python -m tests.references.make_architectures --llama-cpp FOLDER [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

from tests.references.adapted_models import (
    AdapterKind,
    kinds_of,
    logits_of,
    random_model,
    tokens_of,
    with_adapter,
)
from tests.references.architecture_table import (
    ARCHITECTURES,
    BY_NAME,
    N_EXPERT,
    N_LAYER,
    N_VOCAB,
    Architecture,
)
from tests.references.llama_cpp_source import LlamaCppSource, hashes_of
from tests.support.expert_modules import with_expert_modules

DATA = Path(__file__).parent / "architectures"


def make(architecture: Architecture, folder: Path) -> None:
    """Write logits.npz and a folder per adapter into `folder`.

    The logits are float32 of shape (n_tokens, n_vocab), named `base` and as the adapters, beside
    the `tokens`, int32 of shape (n_tokens,).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokens = tokens_of(architecture)
    arrays = {"tokens": tokens, "base": logits_of(random_model(architecture), tokens)}
    for name, kind in kinds_of(architecture).items():
        adapted = with_adapter(random_model(architecture), architecture, kind)
        arrays[name] = logits_of(adapted, tokens)
        save_adapter(adapted, kind, folder / name)
    np.savez_compressed(folder / "logits.npz", **arrays)


def make_with_llama_cpp(architecture: Architecture, source: LlamaCppSource, folder: Path) -> None:
    """Write base.gguf and, where it is right, official.json beside what `make` wrote."""
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "model"
        random_model(architecture).float().save_pretrained(saved)
        # Gemma 3's converter counts the tokens in it, and drops the embedding's other rows.
        vocabulary = {"model": {"vocab": {str(n): n for n in range(N_VOCAB)}}, "added_tokens": []}
        (saved / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        source.write_base(saved, architecture.renamed, folder / "base.gguf")
        if architecture.is_official_right:
            adapter = as_official(folder / "plain", architecture, Path(scratch) / "adapter")
            converted = Path(scratch) / "plain.gguf"
            source.convert_adapter(adapter, saved, architecture.renamed, converted)
            official = json.dumps(hashes_of(converted), indent=1, sort_keys=True)
            (folder / "official.json").write_text(official + "\n", encoding="utf-8")


def as_official(plain: Path, architecture: Architecture, out: Path) -> Path:
    """Return the plain adapter's folder, or a copy in the spelling llama.cpp's converter knows."""
    if architecture.experts_before is None:
        return plain
    block, projections = architecture.experts_before
    name = "adapter_model.safetensors"
    tensors = with_expert_modules(
        load_file(plain / name),
        block,
        projections,
        n_layers=N_LAYER,
        n_experts=N_EXPERT,
        rank=kinds_of(architecture)["plain"].rank,
    )
    out.mkdir()
    shutil.copy(plain / "adapter_config.json", out)
    save_file(tensors, out / name)
    return out


def save_adapter(adapted: Any, kind: AdapterKind, folder: Path) -> None:
    """Write the adapter as PEFT saves it, without the model card."""
    config = adapted.peft_config["default"]
    config.base_model_name_or_path = "tiny/random"
    # PEFT keeps sets, which come in another order every time.
    config.target_modules = sorted(config.target_modules)
    if config.target_parameters:
        config.target_parameters = sorted(config.target_parameters)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.to(getattr(torch, kind.dtype))
        else:
            parameter.data = parameter.data.float()
    adapted.save_pretrained(
        folder,
        safe_serialization=not kind.is_pickled,
        # PEFT saves a copy of an adapted embedding; "auto" would ask the Hub about the others.
        save_embedding_layers="embed_tokens" in config.target_modules,
    )
    (folder / "README.md").unlink(missing_ok=True)


def write_versions(folder: Path) -> None:
    """Write what the references were made with."""
    made_with = {
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        "peft": peft.__version__,
    }
    (folder / "made_with.json").write_text(json.dumps(made_with, indent=1) + "\n", "utf-8")


def main() -> None:
    """Make the architectures that were asked for."""
    parser = argparse.ArgumentParser(description="Compute the references with torch and PEFT.")
    parser.add_argument(
        "--llama-cpp",
        type=Path,
        metavar="FOLDER",
        help="llama.cpp's source; without it neither bases nor its converter's hashes are made",
    )
    parser.add_argument("--only", nargs="+", choices=list(BY_NAME), default=list(BY_NAME))
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = LlamaCppSource(options.llama_cpp) if options.llama_cpp is not None else None
    for architecture in ARCHITECTURES:
        if architecture.name not in options.only:
            continue
        print(architecture.name, flush=True)
        folder = options.out / architecture.name
        make(architecture, folder)
        if source is not None:
            make_with_llama_cpp(architecture, source, folder)
    write_versions(options.out)


if __name__ == "__main__":
    main()
