"""Tiny random GGUF bases and LoRA adapters, written in milliseconds and loaded by llama.cpp.

A base has 2 layers of width 64 and a byte-level BPE vocabulary that covers every text. Equal
arguments give byte-equal files. The first dimension of the residual stream is a constant that
favours printable tokens, so a random model still answers in readable ASCII.

Load a Q8_0 base with `use_extra_bufts = False`: llama.cpp's AMX kernels died with a segmentation
fault on a prompt of two or more tokens on a virtual machine whose processor reports AMX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Architecture = Literal["llama", "qwen2", "gemma", "mixtral"]
Dtype = Literal["f32", "f16", "bf16", "q8_0"]

N_EMBD = 64
N_HEAD = 4
N_HEAD_KV = 2
HEAD_SIZE = N_EMBD // N_HEAD
N_FF = 128
N_EXPERT = 4
N_EXPERT_USED = 2

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MERGES = ("t h", "th e", "Ġ a", "Ġ the", "i n", "e r", "o n", "Ġ o")

LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
EXPERTS = ("ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
ATTENTION = LINEAR[:4]

# The constant first dimension of the residual stream: 17 nats or more between printable tokens
# and the others in a tied model, whose output rows are the embedding rows.
_CONSTANT = 3.0
_TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def byte_characters() -> list[str]:
    """Return the 256 characters that stand for the bytes in a GPT-2 vocabulary, by byte."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(b if b in visible else 256 + hidden.index(b)) for b in range(256)]


def vocabulary() -> list[str]:
    """Return the tokens: 256 bytes, one per merge, then the three control tokens."""
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*byte_characters(), *merged, END_OF_TEXT, TURN_START, TURN_END]


def printable_tokens() -> NDArray[np.bool_]:
    """Return a mask of the tokens that are printable ASCII or a newline, shape (n_vocab,)."""
    n_control = 3
    single = [0x20 <= byte < 0x7F or byte == 0x0A for byte in range(256)]
    return np.array([*single, *[True] * len(MERGES), *[False] * n_control])


def write_base(
    path: Path | str,
    *,
    architecture: Architecture = "llama",
    seed: int = 0,
    dtype: Dtype = "f32",
    is_tied: bool = False,
    n_layer: int = 2,
    n_ctx_train: int = 512,
    add_bos: bool | None = None,
    chat_template: str | None = CHATML,
    is_printable: bool = True,
    ends_at_once: bool = False,
    name: str = "Tiny",
    repo: str | None = None,
) -> Path:
    """Write a random base model and return its path.

    `mixtral` is the llama architecture with 4 experts; `gemma` is always tied. `add_bos=None`
    omits the key. `is_printable=False` makes every byte likely, so that the output splits UTF-8
    characters; `ends_at_once` makes the end of the turn the likeliest token (untied bases only).
    `repo` is the repository of the Hub that the metadata names as the source.
    """
    path = Path(path)
    is_tied = is_tied or architecture == "gemma"
    if ends_at_once and is_tied:
        raise ValueError("ends_at_once needs an output matrix of its own: is_tied must be False")
    rng = np.random.default_rng(seed)
    arch = "llama" if architecture == "mixtral" else architecture
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("model")
    writer.add_name(name)
    if repo is not None:
        writer.add_base_model_count(1)
        writer.add_base_model_repo_url(0, f"https://huggingface.co/{repo}")
    writer.add_context_length(n_ctx_train)
    writer.add_embedding_length(N_EMBD)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(N_FF)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if arch == "gemma":
        writer.add_key_length(HEAD_SIZE)
        writer.add_value_length(HEAD_SIZE)
    else:
        writer.add_rope_dimension_count(HEAD_SIZE)
    if architecture == "mixtral":
        writer.add_expert_count(N_EXPERT)
        writer.add_expert_used_count(N_EXPERT_USED)
    add_tokenizer(writer, add_bos, chat_template)

    printable = printable_tokens()
    if not is_printable:
        printable[:256] = True  # the bytes; control tokens stay unlikely
    embedding = _random(rng, (printable.size, N_EMBD), 0.3)
    embedding[:, 0] = np.where(printable, _CONSTANT, -_CONSTANT if is_tied else _CONSTANT)
    if arch == "gemma":
        embedding *= np.float32(0.4)  # gemma multiplies embeddings by sqrt(N_EMBD) = 8
    _add(writer, "token_embd.weight", embedding, dtype)
    if not is_tied:
        output = _random(rng, (printable.size, N_EMBD), 0.3)
        output[:, 0] = np.where(printable, _CONSTANT, -_CONSTANT)
        if ends_at_once:
            output[vocabulary().index(TURN_END), 0] = 4 * _CONSTANT
        _add(writer, "output.weight", output, dtype)
    _add(writer, "output_norm.weight", _norm(N_EMBD), "f32")
    for layer in range(n_layer):
        _add_layer(writer, rng, f"blk.{layer}.", architecture, dtype)
    _close(writer)
    return path


def write_adapter(
    path: Path | str,
    base_path: Path | str,
    *,
    rank: int = 4,
    alpha: float = 8.0,
    scale_of_weights: float = 0.5,
    seed: int = 1,
    targets: Sequence[str] | None = None,
    dtype: Dtype = "f32",
    name: str | None = None,
    description: str | None = None,
) -> Path:
    """Write a random LoRA adapter for the base in `base_path` and return its path.

    `targets` are tensor names without layer and suffix, `attn_q` or `token_embd`; by default every
    linear layer and every expert tensor of the base. At scale 1 each adapted layer's output
    changes by about `scale_of_weights * alpha / rank` of its size. `name` defaults to the stem.
    """
    path = Path(path)
    wanted = set(targets) if targets is not None else {*LINEAR, *EXPERTS}
    rng = np.random.default_rng(seed)
    base = gguf.GGUFReader(base_path)
    writer = gguf.GGUFWriter(path, str(base.fields["general.architecture"].contents()))
    writer.add_type("adapter")
    writer.add_name(path.stem if name is None else name)
    if description is not None:
        writer.add_description(description)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    n_pairs = 0
    for tensor in base.tensors:
        target = re.sub(r"^blk\.\d+\.|\.weight$", "", tensor.name)
        if target not in wanted or not tensor.name.endswith(".weight"):
            continue
        n_in, n_out, *n_experts = (int(n) for n in tensor.shape)
        if target == "token_embd":  # this pair is stored transposed: a (n_vocab, r), b (n_embd, r)
            a_shape: tuple[int, ...] = (n_out, rank)
            b_shape: tuple[int, ...] = (n_in, rank)
        else:
            a_shape, b_shape = (*n_experts, rank, n_in), (*n_experts, n_out, rank)
        a = _random(rng, a_shape, N_EMBD**-0.5 if target == "token_embd" else n_in**-0.5)
        b = _random(rng, b_shape, scale_of_weights * rank**-0.5)
        if target in ("attn_output", "ffn_down", "ffn_down_exps"):
            b[..., 0, :] = 0.0  # leaves the constant dimension of the residual stream alone
        elif target == "token_embd":
            b[0, :] = 0.0
        _add(writer, f"{tensor.name}.lora_a", a, dtype)
        _add(writer, f"{tensor.name}.lora_b", b, dtype)
        n_pairs += 1
    if n_pairs == 0:
        raise ValueError(f"{base_path} has none of the tensors {sorted(wanted)}")
    _close(writer)
    return path


def add_tokenizer(writer: Any, add_bos: bool | None, chat_template: str | None) -> None:
    """Add the tokenizer of `vocabulary`, and the chat template, to a GGUF writer."""
    tokens = vocabulary()
    control = gguf.TokenType.CONTROL
    kinds = [control if t.startswith("<|") else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(tokens.index(END_OF_TEXT))
    writer.add_eos_token_id(tokens.index(TURN_END))
    writer.add_eot_token_id(tokens.index(TURN_END))
    writer.add_pad_token_id(tokens.index(END_OF_TEXT))
    if add_bos is not None:
        writer.add_add_bos_token(add_bos)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _add_layer(
    writer: Any, rng: np.random.Generator, prefix: str, architecture: Architecture, dtype: Dtype
) -> None:
    n_kv = N_HEAD_KV * HEAD_SIZE
    _add(writer, f"{prefix}attn_norm.weight", _norm(N_EMBD), "f32")
    _add(writer, f"{prefix}ffn_norm.weight", _norm(N_EMBD), "f32")
    for target, n_out in (("attn_q", N_EMBD), ("attn_k", n_kv), ("attn_v", n_kv)):
        _add(writer, f"{prefix}{target}.weight", _linear(rng, n_out, N_EMBD), dtype)
        if architecture == "qwen2":
            _add(writer, f"{prefix}{target}.bias", _random(rng, (n_out,), 0.1), "f32")
    _add(writer, f"{prefix}attn_output.weight", _into_residual(rng, N_EMBD), dtype)
    if architecture == "mixtral":
        router = _linear(rng, N_EXPERT, N_EMBD)
        experts = range(N_EXPERT)
        gate = np.stack([_linear(rng, N_FF, N_EMBD) for _ in experts])
        up = np.stack([_linear(rng, N_FF, N_EMBD) for _ in experts])
        down = np.stack([_into_residual(rng, N_FF) for _ in experts])
        _add(writer, f"{prefix}ffn_gate_inp.weight", router, "f32")
        for target, weights in zip(EXPERTS, (gate, up, down), strict=True):
            _add(writer, f"{prefix}{target}.weight", weights, dtype)
        return
    _add(writer, f"{prefix}ffn_gate.weight", _linear(rng, N_FF, N_EMBD), dtype)
    _add(writer, f"{prefix}ffn_up.weight", _linear(rng, N_FF, N_EMBD), dtype)
    _add(writer, f"{prefix}ffn_down.weight", _into_residual(rng, N_FF), dtype)


def _random(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def _linear(rng: np.random.Generator, n_out: int, n_in: int) -> Floats:
    return _random(rng, (n_out, n_in), n_in**-0.5)


def _into_residual(rng: np.random.Generator, n_in: int) -> Floats:
    """Return an (N_EMBD, n_in) matrix that adds nothing to the constant first dimension."""
    weights = _linear(rng, N_EMBD, n_in)
    weights[0] = 0.0
    return weights


def _norm(n: int) -> Floats:
    return np.ones(n, dtype=np.float32)


def _add(writer: Any, name: str, weights: Floats, dtype: Dtype) -> None:
    """Add a tensor; rows that do not fill Q8_0 blocks of 32 become F16, as converters do."""
    if dtype == "q8_0" and weights.shape[-1] % 32 != 0:
        dtype = "f16"
    if dtype == "f32":
        writer.add_tensor(name, np.ascontiguousarray(weights))
        return
    raw_type = _TYPES[dtype]
    packed = gguf.quants.quantize(np.ascontiguousarray(weights), raw_type)
    writer.add_tensor(name, packed, raw_dtype=raw_type)


def _close(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
