"""Computes what adapters of further architectures add to the weights of a GGUF base.

Of each a tiny model is written as GGUF by llama.cpp's converter twice: as it is, and with an
adapter that PEFT merged into it. The difference says where the adapter's delta belongs. Stored are
the header of the base, the adapter without its values, which `seeded_values` makes anew, and each
delta multiplied by a random vector from the left and from the right. Run from the root of the
project with the extra `peft` installed and a source folder of llama.cpp 0c1e57098:

    python -m tests.references.make_more_architectures --llama-cpp FOLDER [--only NAME ...]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from numpy.typing import NDArray
from safetensors.numpy import load_file

from tests.references.adapted_models import exact_targets, fill
from tests.references.architecture_table import N_VOCAB
from tests.references.llama_cpp_source import LlamaCppSource
from tests.references.more_architectures import FURTHER, TOWER, Further, VisionLanguage
from tests.support.seeded_values import lora_values, random_of
from tests.support.sketches import sketch

DATA = Path(__file__).parent / "more"
RANK, ALPHA = 2, 4
NEGLIGIBLE = 1e-6
"""What a weight can differ by after nothing was added to it."""


def make(further: Further, source: LlamaCppSource, out: Path) -> None:
    """Write the file of one architecture."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = random_model(further)
        base = write_base(model, further, source, folder / "base")
        adapted = with_adapter(model, further, folder / "adapter")
        adapter = load_file(folder / "adapter" / "adapter_model.safetensors")
        seeds = seeds_of(adapted, adapter)
        merged = write_base(adapted.merge_and_unload(), further, source, folder / "merged")
        described = {
            "adapter_config": json.loads((folder / "adapter/adapter_config.json").read_text()),
            "tensors": {name: [seeds[name], values.shape] for name, values in adapter.items()},
            "config": json.loads((folder / "base" / "config.json").read_text()),
            "base_size_bytes": base.stat().st_size,
        }
        np.savez_compressed(
            out,
            described=np.frombuffer(json.dumps(described).encode(), np.uint8),
            base_header=header_of(base),
            **sketches_of(base, merged),
        )


def random_model(further: Further) -> Any:
    """Return a model in float32 with random weights."""
    config = configuration(further.config_family or further.family, further.all_options)
    head = "ForCausalLM"
    if isinstance(further, VisionLanguage):
        tower = configuration(further.tower, TOWER)
        config = getattr(transformers, f"{further.family}Config")(
            text_config=config.to_dict(), vision_config=tower.to_dict()
        )
        head = "ForConditionalGeneration"
    model = getattr(transformers, f"{further.family}{head}")(config).float()
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape) or (1,)
        fill(parameter, random_of(name, shape).reshape(parameter.shape) * shape[-1] ** -0.5)
    return model


def configuration(family: str, options: Mapping[str, Any]) -> Any:
    """Return a configuration with those of the options that it knows."""
    config_class = getattr(transformers, f"{family}Config")
    known = {item.name for item in dataclasses.fields(config_class)}
    known |= set(config_class.attribute_map)
    return config_class(**{key: value for key, value in options.items() if key in known})


def with_adapter(model: Any, further: Further, folder: Path) -> Any:
    """Return the model under a saved adapter on every linear module but the head."""
    linear = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    modules = [
        name
        for name, module in model.named_modules()
        if isinstance(module, linear) and name != "lm_head"
    ]
    parameters = [
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 3 and ".experts." in name
    ]
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=[
            name for name in modules if not any(part in name for part in further.left_out)
        ],
        target_parameters=parameters or None,
    )
    with exact_targets(model):
        adapted = peft.get_peft_model(model, config)
    described = adapted.peft_config["default"]
    described.base_model_name_or_path = "tiny/random"
    # PEFT keeps sets, which come in another order every time.
    described.target_modules = sorted(described.target_modules)
    if described.target_parameters:
        described.target_parameters = sorted(described.target_parameters)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            fill(parameter, lora_values(name, tuple(parameter.shape)))
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return adapted


def seeds_of(adapted: Any, saved: dict[str, NDArray[np.float32]]) -> dict[str, str]:
    """Return what decided the values of each saved tensor; PEFT saves some under other names."""
    seeds = {
        parameter.detach().numpy().tobytes(): name
        for name, parameter in adapted.named_parameters()
        if ".lora_" in name
    }
    return {name: seeds[values.tobytes()] for name, values in saved.items()}


def write_base(model: Any, further: Further, source: LlamaCppSource, folder: Path) -> Path:
    """Write the model as transformers saves it and as float32 GGUF beside it."""
    model.save_pretrained(folder)
    # Gemma 3's converter counts the tokens in it, and drops the embedding's other rows.
    vocabulary = {"model": {"vocab": {str(n): n for n in range(N_VOCAB)}}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    path = folder / "model.gguf"
    source.write_base(folder, further.renamed, path)
    return path


def header_of(path: Path) -> NDArray[np.uint8]:
    """Return the bytes before the first tensor."""
    import gguf

    return np.frombuffer(path.read_bytes()[: gguf.GGUFReader(path).data_offset], np.uint8)


def sketches_of(base: Path, merged: Path) -> dict[str, NDArray[np.float32]]:
    """Return the two sketches of each difference, `<tensor>.rows` and `<tensor>.columns`."""
    import gguf

    before = {str(tensor.name): tensor.data for tensor in gguf.GGUFReader(base).tensors}
    after = {str(tensor.name): tensor.data for tensor in gguf.GGUFReader(merged).tensors}
    found = {}
    for name, values in before.items():
        delta = after[name].astype(np.float64) - values
        if np.abs(delta).max() > NEGLIGIBLE:
            # One row of a gate is stored as a vector.
            rows, columns = sketch(delta.reshape(-1, delta.shape[-1]) if delta.ndim < 2 else delta)
            found[f"{name}.rows"], found[f"{name}.columns"] = rows, columns
    return found


def main() -> None:
    """Make the architectures that were asked for."""
    names = [further.name for further in FURTHER]
    parser = argparse.ArgumentParser(description="Compute where further adapters belong.")
    parser.add_argument("--llama-cpp", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    source = LlamaCppSource(options.llama_cpp)
    for further in FURTHER:
        if further.name in options.only:
            print(further.name, flush=True)
            torch.manual_seed(0)
            make(further, source, options.out / f"{further.name}.npz")


if __name__ == "__main__":
    main()
