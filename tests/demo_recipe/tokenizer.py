"""Train and load the demo's byte-level BPE tokenizer, which is trained on its own dialogues."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.demo_recipe.dialogues import CHAT_TEMPLATE, base_dialogue

VOCAB_SIZE = 2560
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# llama.cpp's name of `_SPLIT_RULE`, which splits numbers into single digits; that helps sums.
PRE_TOKENIZER_NAME = "qwen2"
_SPLIT_RULE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _texts(dialogues: int, seed: int) -> Iterator[str]:
    # 40 % styled dialogues, and one in six dialogues in capitals: without them, rare words in
    # capitals are split into letters, and shouted text falls apart.
    rng = random.Random(seed)
    for index in range(dialogues):
        text = "".join(segment.text for segment in base_dialogue(rng, styled_share=0.4))
        text = text.replace("<|im_start|>", "\n").replace("<|im_end|>", "\n")
        yield text.upper() if index % 6 == 0 else text


def train_tokenizer(out: Path, dialogues: int = 24_000, seed: int = 7) -> PreTrainedTokenizerFast:
    """Train a tokenizer of ``VOCAB_SIZE`` tokens and save it in ``out`` with the chat template."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT_RULE), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(dialogues, seed), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        bos_token=None,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(str(out))
    return fast


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer saved in a folder."""
    return PreTrainedTokenizerFast.from_pretrained(str(folder))
