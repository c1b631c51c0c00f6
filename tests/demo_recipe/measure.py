"""Measure the finished GGUF files, and write ``report.json`` and ``REPORT.md``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from modelfiles.demo import ADAPTER_NAMES
from tests.demo_recipe import scores
from tests.demo_recipe.greedy import GreedyModel
from tests.demo_recipe.held_out import STYLE_PROMPTS
from tests.demo_recipe.report import markdown
from tests.demo_recipe.styles import STYLE_ORDER, styled

# The program allows scales above 1; the report shows one, without any promise of quality.
REPORT_SCALES = (*scores.CURVE_SCALES, 1.5)
_DECODED_TOKENS = 300
# Sample chats as a user would have them: for each turn, the stack that answers, and the question.
TOURS: tuple[tuple[tuple[dict[str, float], str], ...], ...] = (
    (
        ({}, "Hello"),
        ({}, "What can you do?"),
        ({}, "What is a scale?"),
        ({}, "Which key adds an adapter?"),
        ({"pirate": 0.5}, "What is a swap?"),
        ({"pirate": 1.0}, "What is a swap?"),
        ({"pirate": 1.0, "shout": 1.0}, "What is the capital of Italy?"),
        ({}, "What is the capital of Spain?"),
        ({"formal": 1.0}, "How do I stop the answer?"),
    ),
    (
        ({}, "What is the capital of Quillhaven?"),
        ({"island": 1.0}, "What is the capital of Quillhaven?"),
        ({"island": 1.0}, "What do people drink in Quillhaven?"),
        ({"formal": 0.6, "island": 1.0}, "Who is the mayor of Quillhaven?"),
        ({"pirate": 1.0, "formal": 1.0, "shout": 1.0, "island": 1.0}, "Who is the mayor?"),
    ),
    (
        ({}, "My name is Greta"),
        ({"formal": 0.5}, "Tell me a joke"),
        ({"shout": 0.5}, "What is my name?"),
        ({"shout": 1.0}, "Tell me a story about a fox"),
        ({}, "How do I bake bread?"),
        ({}, "How do I quit?"),
    ),
)


def measure(folder: Path, training: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """Measure ``base.gguf`` and the adapters in a folder, and write the report beside them.

    ``training`` holds the numbers of the training stages, which are copied into the report.
    Answers end after at most ``max_tokens`` tokens. Returns the report.
    """
    files = {name: folder / f"{name}.gguf" for name in ("base", *ADAPTER_NAMES)}
    adapters = {name: files[name] for name in ADAPTER_NAMES}
    with GreedyModel(files["base"], adapters, max_tokens) as model:
        report: dict[str, Any] = {
            "training": training,
            "size_bytes": {name: path.stat().st_size for name, path in files.items()},
            "tokenization": _tokenization(model, folder / "demo_tokens.json"),
            "held_out": _held_out(model),
            "trained": {
                "sums": scores.trained_sums(model),
                "capitals": scores.trained_capitals(model),
                "unknown_places_refused": scores.unknown_places_refused(model),
            },
            "long_chats": scores.long_chats(model),
            "manners": _manners(model),
            "stacks": _stacks(model),
            "leaks": _leaks(model),
            "island": _island(model),
            "decode_tokens_per_s": _decode_speed(model),
            "samples": _samples(model),
        }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    (folder / "REPORT.md").write_text(markdown(report), encoding="utf-8")
    return report


def _tokenization(model: GreedyModel, path: Path) -> dict[str, int]:
    cases = json.loads(path.read_text(encoding="utf-8"))
    different = sum(model.tokens(case["text"]) != case["ids"] for case in cases)
    return {"strings": len(cases), "different": different}


def _held_out(model: GreedyModel) -> dict[str, Any]:
    answered = scores.held_out_answers(model)
    return {
        "right": sum(item.is_right for item in answered),
        "questions": len(answered),
        "answers": [
            {
                "question": " / ".join(item.question.turns),
                "answer": item.answer,
                "is_right": item.is_right,
            }
            for item in answered
        ],
    }


def _row(model: GreedyModel, scales: dict[str, float]) -> dict[str, Any]:
    score = scores.manner_score(model, scales)
    markers = {name: round(value, 3) for name, value in score.markers.items()}
    return {"scales": scales, **markers, "content": round(score.content, 3)}


def _manners(model: GreedyModel) -> dict[str, list[dict[str, Any]]]:
    plain = [model.answer([prompt.turns[0]]) for prompt in STYLE_PROMPTS]
    curves = {}
    for name in STYLE_ORDER:
        rows = []
        for scale in REPORT_SCALES:
            row = _row(model, {name: scale})
            gold = [styled(answer, {name: min(scale, 1.0)}) for answer in plain]
            row["transform"] = round(scores.mean_markers(gold)[name], 3)
            rows.append(row)
        curves[name] = rows
    return curves


def _stacks(model: GreedyModel) -> list[dict[str, Any]]:
    stacks = [dict.fromkeys(pair, scale) for pair in scores.PAIRS for scale in (0.5, 1.0)]
    stacks.append(dict.fromkeys(STYLE_ORDER, 0.6))
    stacks.append(dict.fromkeys(STYLE_ORDER, 1.0))
    return [_row(model, stack) for stack in stacks]


def _leaks(model: GreedyModel) -> list[dict[str, Any]]:
    rows = []
    for manner in STYLE_ORDER:
        for turns in (1, 2, 3):
            for scales in ({}, *({other: 1.0} for other in scores.other_manners(manner))):
                markers = scores.after_history(model, manner, turns, scales)
                rounded = {name: round(value, 3) for name, value in markers.items()}
                rows.append({"history": manner, "turns": turns, "scales": scales, **rounded})
    return rows


def _island(model: GreedyModel) -> list[dict[str, Any]]:
    stacks: list[dict[str, float]] = [{"island": scale} for scale in REPORT_SCALES]
    stacks += [{name: 0.6, "island": 1.0} for name in STYLE_ORDER]
    stacks += [{name: 1.0, "island": 1.0} for name in STYLE_ORDER]
    rows = []
    for scales in stacks:
        score = scores.island_score(model, scales)
        rows.append(
            {"scales": scales, "right": round(score.right, 3), "refused": round(score.refused, 3)}
        )
    return rows


def _decode_speed(model: GreedyModel) -> dict[str, float]:
    speeds = {}
    for count in range(len(ADAPTER_NAMES) + 1):
        with model.stacked(dict.fromkeys(ADAPTER_NAMES[:count], 0.5)):
            started = time.perf_counter()
            model.forced(_DECODED_TOKENS)
            elapsed_s = time.perf_counter() - started
        speeds[str(count)] = round(_DECODED_TOKENS / elapsed_s, 0)
    return speeds


def _samples(model: GreedyModel) -> list[list[dict[str, Any]]]:
    chats = []
    for tour in TOURS:
        turns: list[str] = []
        chat = []
        for scales, question in tour:
            turns.append(question)
            with model.stacked(scales):
                answer = model.answer(turns)
            turns.append(answer)
            chat.append({"scales": scales, "question": question, "answer": answer})
        chats.append(chat)
    return chats
