"""With latent attention llama.cpp ignores the pairs that the notices name, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from engine.adapters.checking.ignored_tensors import unused_targets
from engine.gguf.header import read_header
from engine.gguf.model_header import require_base
from engine.llama.adapter import LoraAdapter
from engine.llama.context import Context, KvType
from engine.llama.model import Model
from tests.support.gguf_child import PROMPT, logits_after
from tests.support.tiny_latent import Architecture, write_latent_base
from tests.support.tiny_models import write_adapter


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_pair_is_named_exactly_where_it_changes_no_logit(
    tmp_path: Path, architecture: Architecture
) -> None:
    path = write_latent_base(tmp_path / "base.gguf", architecture)
    base = require_base(path)
    matrices = {name for name, tensor in base.tensors.items() if len(tensor.shape) > 1}
    if "output.weight" not in base.tensors:
        matrices.remove("token_embd.weight")  # refused: the output shares its weights
    targets = sorted({re.sub(r"^blk\.\d+\.|\.weight$", "", name) for name in matrices})
    ignored, named = [], []
    with Model(path, n_gpu_layers=0) as model:
        context = Context(
            model,
            n_ctx=128,
            n_batch=128,
            n_threads=1,
            kv_type=KvType.F32,
            uses_flash_attention=False,
        )
        tokens = model.tokenize(PROMPT)
        bare = logits_after(context, tokens)
        for target in targets:
            adapter = write_adapter(tmp_path / f"{target}.gguf", path, targets=[target])
            with LoraAdapter(model, adapter) as handle:
                context.set_adapters([(handle, 1.0)])
                if np.array_equal(logits_after(context, tokens), bare):
                    ignored.append(target)
            if unused_targets(read_header(adapter), base):
                named.append(target)
    assert named == ignored
    assert 0 < len(named) < len(targets)
