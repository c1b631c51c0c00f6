"""Tell what a GGUF file is that is neither a text model nor a LoRA adapter, by its header.

Source: repeng and llama.cpp's cvector-generator (`controlvector`), `imatrix`, `clip.cpp` (mmproj),
llama.cpp's former `finetune` (`training.type`), stable-diffusion.cpp and ComfyUI-GGUF, whose image
models name their architecture or have tensors of diffusion models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.gguf.header import GgufHeader

_IMAGE_MODELS: Final = frozenset(
    (
        *("flux", "sd1", "sd2", "sd3", "sdxl", "sdxl_refiner", "svd", "pixart", "lumina2", "aura"),
        *("hidream", "cosmos", "ltxv", "hyvid", "wan", "qwen_image", "z_image", "chroma", "pig"),
        *("omnigen", "kolors", "hunyuan_image"),
    )
)
_IMAGE_TENSOR: Final = re.compile(
    r"(model\.)?diffusion_model\.|first_stage_model\.|cond_stage_model\.|conditioner\.|"
    r"(double|single|joint)_blocks\.\d|(single_)?transformer_blocks\.\d|"
    r"(input|output|middle|down|up)_blocks?\.\d|vae\.|decoder\.up\."
)
_LORA_HALF: Final = re.compile(r".+\.lora_[ab]")
_DIRECTION: Final = re.compile(r"direction\.\d+")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is, and what to name in its place."""

    what: str
    in_place_of_adapter: str = "name a LoRA"
    in_place_of_base: str = "name a base model"


_KINDS: Final[tuple[tuple[Callable[[GgufHeader], bool], Kind], ...]] = (
    (
        lambda header: _says(header, "controlvector") or _are_all(header, _DIRECTION.fullmatch),
        Kind("a control vector", "llama.cpp takes it with --control-vector; name a LoRA"),
    ),
    (
        lambda header: (
            header.text("training.type") is not None
            or any(key.startswith(("training.", "optimizer.")) for key in header.metadata)
        ),
        Kind(
            "a checkpoint of llama.cpp's former finetune, which nothing reads any more",
            "train the LoRA with PEFT or another trainer of today",
        ),
    ),
    (
        lambda header: not header.is_adapter and _are_all(header, _LORA_HALF.fullmatch),
        Kind(
            "a LoRA without general.type = 'adapter', which llama.cpp refuses",
            "convert the folder that it was made of again",
            "name the base that it was trained on",
        ),
    ),
    (
        lambda header: (
            _says(header, "imatrix")
            or _are_all(header, lambda name: name.endswith((".in_sum2", ".counts")))
        ),
        Kind("an importance matrix (imatrix)"),
    ),
    (
        lambda header: (
            _says(header, "clip", "mmproj", "projector")
            or any(key.startswith("clip.") for key in header.metadata)
        ),
        Kind(
            "the vision or audio part of a model (mmproj)",
            in_place_of_base="name the text model beside it",
        ),
    ),
    (
        lambda header: (
            (header.architecture or "").lower() in _IMAGE_MODELS
            or (not header.architecture and any(map(_IMAGE_TENSOR.match, header.tensors)))
        ),
        Kind("an image or video model or a part of one", in_place_of_base="name a text model"),
    ),
)


def odd_kind(header: GgufHeader) -> Kind | None:
    """Return what a file is, or None if it may be a text model or an adapter."""
    return next((kind for is_it, kind in _KINDS if is_it(header)), None)


def _says(header: GgufHeader, *names: str) -> bool:
    return header.text("general.type") in names or header.architecture in names


def _are_all(header: GgufHeader, is_such: Callable[[str], object]) -> bool:
    return bool(header.tensors) and all(map(is_such, header.tensors))
