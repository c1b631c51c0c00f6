"""Untie embeddings: give a model whose output shares the embedding's weights an output of its own.

llama.cpp uses `token_embd.weight` for the output if a file has no `output.weight`. A LoRA on one of
the two changes only that one, so merging it has to write both. That works for architectures for
which `output.weight` is optional; others never look for it, and refuse a file with an unknown
tensor ("wrong number of tensors").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from engine.adapters.pairs import OUTPUT, TOKEN_EMBEDDING, pairs_of
from engine.gguf.header import GgufHeader

# Architectures whose `load_arch_tensors` requests the output with TENSOR_NOT_REQUIRED and falls
# back to the token embedding, from src/models of llama.cpp 0c1e57098. Excluded: gemma, gemma2,
# command-r, cohere2, openelm and bitnet, which never request it; architectures that require it;
# and encoders, embedding models and drafters, whose missing output is not a tied one.
_OPTIONAL_OUTPUT: Final = """
    llama llama4 deci falcon grok gpt2 mpt starcoder refact bloom qwen2 qwen2vl qwen3 qwen3moe
    qwen3next qwen3vl qwen3vlmoe qwen35 qwen35moe qwen4exp phi3 plamo2 plamo3 minicpm minicpm3
    gemma3 gemma3n gemma4 starcoder2 mamba mamba2 jamba falcon-h1 cohere2moe olmo arctic
    deepseek deepseek2 deepseek2-ocr deepseek32 chatglm glm4 glm4moe glm-dsa jais2 nemotron_h
    nemotron_h_moe exaone exaone4 granite granitemoe granitehybrid graniteswitch granite_swa
    chameleon bailingmoe3 dots3note arcee afmoe laguna ernie4_5 ernie4_5-moe hunyuan-moe
    hunyuan-dense hunyuan_vl hy_v3 smollm3 lfm2 lfm2moe dream smallthinker llada seed_oss
    grovemoe minimax-01 hrm_text cogvlm rnd1 pangu-embedded mistral3 mistral4 paddleocr
    spark2_5 maincoder nanbeige
"""


def is_tied(base: GgufHeader) -> bool:
    """Return whether the output of a base shares the token embedding's weights."""
    return TOKEN_EMBEDDING in base.tensors and OUTPUT not in base.tensors


def can_untie(architecture: str | None) -> bool:
    """Return whether `output.weight` is optional in llama.cpp's models of an architecture."""
    return architecture in _OPTIONAL_OUTPUT.split()


def needs_untying(base: GgufHeader, adapters: Iterable[GgufHeader]) -> bool:
    """Return whether adapters change the embedding or the output of a tied base."""
    return is_tied(base) and any(
        pair.target in (TOKEN_EMBEDDING, OUTPUT)
        for adapter in adapters
        for pair in pairs_of(adapter)
    )


def untied(base: GgufHeader) -> GgufHeader:
    """Return the header of a tied base with an added output that refers to the embedding's data."""
    output = replace(base.tensors[TOKEN_EMBEDDING], name=OUTPUT)
    return replace(base, tensors=MappingProxyType({**base.tensors, OUTPUT: output}))


def is_untied(base: GgufHeader) -> bool:
    """Return whether a header comes from `untied`: its output refers to the embedding's data."""
    embedding, output = base.tensors.get(TOKEN_EMBEDDING), base.tensors.get(OUTPUT)
    if embedding is None or output is None:
        return False
    return (embedding.path, embedding.offset) == (output.path, output.offset)
