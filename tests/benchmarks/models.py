"""Write random llama bases and adapters of any size in seconds, as raw quantised blocks.

The tests' tiny models quantise real numbers, which takes minutes for a billion weights. Here the
blocks are random bits with one constant scale, which llama.cpp multiplies at the same speed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.support.tiny_models import MERGES, byte_characters

CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] + '\\n' }}{% endfor %}"
"""Only the messages, so that two conversations can differ from their first token on."""
END_OF_TEXT = "<|endoftext|>"
N_CTX_TRAIN = 4096


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Sizes of a llama model; the output matrix is the embedding."""

    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    n_ff: int
    n_vocab: int

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    def linear(self) -> dict[str, tuple[int, int]]:
        """Return the shapes (outputs, inputs) of a block's linear layers, by name."""
        n_kv = self.n_head_kv * self.head_size
        return {
            "attn_q": (self.n_embd, self.n_embd),
            "attn_k": (n_kv, self.n_embd),
            "attn_v": (n_kv, self.n_embd),
            "attn_output": (self.n_embd, self.n_embd),
            "ffn_gate": (self.n_ff, self.n_embd),
            "ffn_up": (self.n_ff, self.n_embd),
            "ffn_down": (self.n_embd, self.n_ff),
        }


@dataclass(frozen=True, slots=True)
class _Blocks:
    """A quantised type of ggml: blocks of 32 weights, a float16 scale and then the levels."""

    kind: gguf.GGMLQuantizationType
    size_bytes: int
    deviation: float
    """Standard deviation of uniformly random levels, in units of the scale."""
    zero_level: int
    """The byte that encodes levels of zero."""


_BLOCK = 32
_TYPES = {
    "q8_0": _Blocks(gguf.GGMLQuantizationType.Q8_0, 34, 73.9, 0x00),
    "q4_0": _Blocks(gguf.GGMLQuantizationType.Q4_0, 18, 4.61, 0x88),
}


def write_base(path: Path, dimensions: Dimensions, dtype: Literal["q8_0", "q4_0"]) -> None:
    """Write a base model whose greedy answer never reaches an end token."""
    d, blocks = dimensions, _TYPES[dtype]
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_type("model")
    writer.add_name(path.stem)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(d.n_embd)
    writer.add_block_count(d.n_layer)
    writer.add_feed_forward_length(d.n_ff)
    writer.add_head_count(d.n_head)
    writer.add_head_count_kv(d.n_head_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(d.head_size)
    _add_tokenizer(writer, d.n_vocab)

    matrices = {"token_embd.weight": (d.n_vocab, d.n_embd)}
    for layer in range(d.n_layer):
        matrices |= {f"blk.{layer}.{name}.weight": size for name, size in d.linear().items()}
    for name, (n_out, n_in) in matrices.items():
        shape = (n_out, n_in // _BLOCK * blocks.size_bytes)
        n_bytes = shape[0] * shape[1]
        writer.add_tensor_info(name, shape, np.dtype(np.uint8), n_bytes, raw_dtype=blocks.kind)
    norms = ["output_norm.weight"]
    for layer in range(d.n_layer):
        norms += [f"blk.{layer}.attn_norm.weight", f"blk.{layer}.ffn_norm.weight"]
    for name in norms:
        writer.add_tensor_info(name, (d.n_embd,), np.dtype(np.float32), 4 * d.n_embd)

    def tensors() -> Iterator[NDArray[Any]]:
        rng = np.random.default_rng(0)
        for name, (n_out, n_in) in matrices.items():
            weights = _random_blocks(rng, n_out, n_in, blocks)
            if name == "token_embd.weight":
                # The logit of a token whose row is zero is zero: never the largest of thousands.
                weights[-1, :, 2:] = blocks.zero_level
            yield weights.reshape(n_out, -1)
        for _ in norms:
            yield np.ones(d.n_embd, dtype=np.float32)

    _write(writer, path, tensors())


def write_adapter(path: Path, dimensions: Dimensions, *, rank: int, seed: int) -> None:
    """Write a random f16 adapter for every linear layer; alpha is twice the rank."""
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_type("adapter")
    writer.add_name(path.stem)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * rank)
    pairs = [
        (f"blk.{layer}.{name}.weight", size)
        for layer in range(dimensions.n_layer)
        for name, size in dimensions.linear().items()
    ]
    half = np.dtype(np.float16)
    for name, (n_out, n_in) in pairs:
        writer.add_tensor_info(f"{name}.lora_a", (rank, n_in), half, 2 * rank * n_in)
        writer.add_tensor_info(f"{name}.lora_b", (n_out, rank), half, 2 * n_out * rank)

    def tensors() -> Iterator[NDArray[Any]]:
        rng = np.random.default_rng(seed)
        for _, (n_out, n_in) in pairs:
            yield _random_halves(rng, (rank, n_in), n_in**-0.5)
            yield _random_halves(rng, (n_out, rank), 0.05 * rank**-0.5)

    _write(writer, path, tensors())


def _add_tokenizer(writer: Any, n_vocab: int) -> None:
    """Add a byte-level vocabulary, padded to `n_vocab` with tokens that no text contains."""
    tokens = [*byte_characters(), *[merge.replace(" ", "") for merge in MERGES]]
    tokens += [f"word{n}" for n in range(n_vocab - len(tokens) - 1)]
    kinds = [gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL]
    tokens.append(END_OF_TEXT)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(len(tokens) - 1)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _random_blocks(
    rng: np.random.Generator, n_out: int, n_in: int, blocks: _Blocks
) -> NDArray[np.uint8]:
    """Return blocks of weights with deviation n_in**-0.5, shape (n_out, n_in / 32, block bytes)."""
    shape = (n_out, n_in // _BLOCK, blocks.size_bytes)
    weights = np.frombuffer(bytearray(rng.bytes(shape[0] * shape[1] * shape[2])), np.uint8)
    weights = weights.reshape(shape)
    scale = np.float16(n_in**-0.5 / blocks.deviation)
    weights[:, :, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    return weights


def _random_halves(
    rng: np.random.Generator, shape: tuple[int, int], deviation: float
) -> NDArray[np.float16]:
    values = rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)
    return values.astype(np.float16)


def _write(writer: Any, path: Path, tensors: Iterator[NDArray[Any]]) -> None:
    """Write the tensors one by one, to a temporary file that is renamed when it is complete."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        writer.write_header_to_file(part)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(tensor)
        writer.close()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
