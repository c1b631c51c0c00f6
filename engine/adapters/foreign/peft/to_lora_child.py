"""Child process in which PEFT converts an adapter of another method to LoRA.

The only module that imports torch, peft and transformers: `other_types.to_lora` starts it with an
order as JSON and reads its answers as JSON lines. Most methods need only the base's shapes: its
weights are then expanded zeros, so that a base of any size takes no memory.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Answer = Callable[..., None]


def main(order: Mapping[str, Any], answer: Answer) -> None:
    """Convert the adapter; `order` has `folder`, `base`, `has_weights`, `rank` and `out`."""
    warnings.simplefilter("ignore")
    answer(title="loading PEFT", fraction=0.0)
    try:
        import peft
        import torch
        from peft import convert_to_lora
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        answer(error=f"install a newer PEFT with 'pip install -U peft' ({reason}).")
        return
    torch.set_grad_enabled(False)
    base = _base(Path(order["base"]), has_weights=order["has_weights"])
    folder = Path(order["folder"])
    model = peft.PeftModel.from_pretrained(base, folder, local_files_only=True).eval()
    problem = _mismatch(model, folder) or _too_small(model, order["rank"])
    if problem is not None:
        answer(error=problem)
        return
    config, tensors = convert_to_lora(_Reported(model, answer), order["rank"])
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    kept = _energy_kept(model, tensors, answer)
    out = Path(order["out"])
    # The scale is folded into A and B; alpha equals the rank.
    config.inference_mode = True
    config.task_type = "CAUSAL_LM"
    config.save_pretrained(out)
    _save(tensors, out / "adapter_model.safetensors")
    ranks = [tensor.shape[0] for name, tensor in tensors.items() if name.endswith("lora_A.weight")]
    answer(result={**kept, "rank_min": min(ranks), "rank_max": max(ranks), "n_modules": len(ranks)})


def _base(folder: Path, *, has_weights: bool) -> Any:
    """Return the base in float32, with its weights or with expanded zeros."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if has_weights:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        ).eval()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                # One expanded zero: PEFT puts its tensors on the device of the base's.
                zeros = torch.zeros(1).expand(parameter.shape)
                module._parameters[name] = torch.nn.Parameter(zeros, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.zeros(1, dtype=buffer.dtype).expand(buffer.shape)
    return model.eval()


def _mismatch(model: Any, folder: Path) -> str | None:
    """Return an error message if the adapter's tensors differ from those the model expects.

    PEFT skips tensors that do not fit, with a warning at most.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    loaded = set(get_peft_model_state_dict(model))
    strangers = sorted(stored ^ loaded)
    if not strangers:
        return None
    count = f"{len(strangers)} tensors, the first {strangers[0]!r}, are"
    return f"{count} in the adapter or in the base's model only: name the base it was trained on."


def _too_small(model: Any, rank: int | float) -> str | None:
    """Return an error message if a matrix has fewer rows or columns than the rank."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    shapes = [
        (min(module.get_base_layer().weight.shape), name)
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and hasattr(module.get_base_layer(), "weight")
    ]
    side, name = min(shapes, default=(0, ""))
    if not shapes or isinstance(rank, float) or rank <= side:
        return None
    return (
        f"the rank {rank} is larger than its matrix {name!r}, {side} on the smaller side: choose "
        f"--rank {side} at most, or a share of the energy such as 0.99."
    )


class _Reported:
    """The part of a model that `convert_to_lora` uses; reports progress over its modules."""

    def __init__(self, model: Any, answer: Answer) -> None:
        self._model = model
        self._answer = answer
        self.peft_config = model.peft_config

    def modules(self) -> Any:
        """Return all modules."""
        return self._model.modules()

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Yield all modules with their names."""
        named = list(self._model.named_modules())
        for place, pair in enumerate(named):
            self._answer(title="decomposing", fraction=place / len(named))
            yield pair


def _energy_kept(model: Any, tensors: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Return the shares of the energy kept, measured on the layers' outputs.

    D is the difference between the outputs of a layer and of its base layer for each unit vector;
    |.| is the Frobenius norm.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
    energy = lost = 0.0
    least, least_module = 1.0, ""
    for place, (name, layer) in enumerate(layers):
        answer(title="measuring what was kept", fraction=place / len(layers))
        a, b = (tensors[f"{name}.lora_{half}.weight"].double() for half in "AB")
        base = layer.get_base_layer()
        units = torch.eye(a.shape[1])
        delta = (layer(units) - base(units)).T.double()
        own, residual = float(delta.square().sum()), float((delta - b @ a).square().sum())
        kept = 1.0 - residual / own if own > 0.0 else 1.0
        if kept <= least:
            least, least_module = kept, name.removeprefix("base_model.model.")
        energy, lost = energy + own, lost + residual
    return {
        "energy_kept": 1.0 - lost / energy if energy > 0.0 else 1.0,
        "energy_kept_least": least,
        "least_module": least_module,
    }


def _save(tensors: Mapping[str, Any], file: Path) -> None:
    from safetensors.torch import save_file

    save_file(dict(tensors), file, metadata={"format": "pt"})


def _start() -> None:
    # Output of the libraries goes to stderr, only answers to stdout.
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**fields: Any) -> None:
        stream.write(json.dumps(fields) + "\n")
        stream.flush()

    try:
        main(json.loads(sys.argv[1]), answer)
    except Exception as error:  # torch, PEFT and transformers have no common base class
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        answer(error=f"{reason}.")


if __name__ == "__main__":
    _start()
