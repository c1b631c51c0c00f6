"""Write strings with the trained tokenizer's ids, to check llama.cpp's tokenization against."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.demo_recipe.dialogues import base_dialogue
from tests.demo_recipe.tokenizer import load_tokenizer

CASE_COUNT = 200
_UNUSUAL = (
    "",
    " ",
    "  two  spaces  ",
    "tab\there",
    "line\nbreak",
    "carriage\r\nreturn\r\n\r\n",
    "trailing space ",
    "\n\n\n",
    "12345 and 0.5 and 1,000",
    "3+4=7",
    "don't can't I'll you've they're it's I'd I'm",
    "DON'T CAN'T I'LL YOU'VE",
    "o' th' an' t' 'em",
    "ctrl+b, F1, Esc, Tab",
    "é à ü ß ñ ç",
    "e\u0301 combining",
    "日本語のテキスト",
    "中文测试",
    "שלום עולם",
    "مرحبا",
    "Привет, мир",
    "😀 🏴‍☠️ 👍🏽",
    "a\u00a0b",
    "zero\u200bwidth",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end",
    "snake_case camelCase PascalCase",
    "path/to/file.gguf",
    "https://example.org/?q=1&r=2",
    "`code` **bold** _it_",
    "{}[]()<>|\\/~^",
    "!!! ??? ...",
    "½ ² ③",
    "\x00\x01\x7f",
    "Quillhaven QUILLHAVEN quillhaven",
    "LoRA LORA lora GGUF",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "日" * 20,
)


def write_token_cases(tokenizer_dir: Path, out: Path, seed: int = 11) -> int:
    """Write ``CASE_COUNT`` objects with ``text`` and ``ids`` as JSON; return their number."""
    tokenizer = load_tokenizer(tokenizer_dir)
    rng = random.Random(seed)
    texts = list(_UNUSUAL)
    while len(texts) < CASE_COUNT:
        segments = base_dialogue(rng, styled_share=0.4)
        texts.append("".join(segment.text for segment in segments[:4]))
        letters = [
            chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 1500)))) for _ in "x" * 24
        ]
        texts.append("".join(letters))
    cases = [
        {"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids}
        for text in texts[:CASE_COUNT]
    ]
    lines = ",\n".join(json.dumps(case) for case in cases)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return len(cases)
