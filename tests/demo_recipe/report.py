"""Write the measured numbers as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.demo_recipe.scores import LENGTH_STEP


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(map(str, row)) for row in rows]
    return [f"| {line} |" for line in lines] + [""]


def _stack(scales: dict[str, float]) -> str:
    return " + ".join(f"{name} {scale:g}" for name, scale in scales.items() if scale) or "base"


def _number(value: float) -> str:
    return f"{value:.2f}"


def _marker_rows(rows: Sequence[dict[str, Any]]) -> list[list[object]]:
    keys = ("pirate", "formal", "shout", "content")
    return [[_stack(row["scales"]), *(_number(row[key]) for key in keys)] for row in rows]


def _training(training: dict[str, Any]) -> list[str]:
    lines = ["## Training", ""]
    base = training.get("base", {})
    if base:
        lines.append(
            f"Base: {base['parameters']:,} parameters, {base['steps']} steps on "
            f"{base['trained_tokens']:,} tokens of {base['dialogues']:,} generated dialogues, "
            f"{base['minutes']} minutes; validation loss {base['validation_loss']} and token "
            f"accuracy {base['validation_accuracy']} on the assistant's tokens."
        )
        lines.append("")
    rows = [
        [name, numbers["parameters"], numbers["steps"], numbers["minutes"], numbers["final_loss"]]
        for name, numbers in training.get("adapters", {}).items()
    ]
    return lines + _table(("adapter", "parameters", "steps", "minutes", "final loss"), rows)


def _held_out(held_out: dict[str, Any]) -> list[str]:
    lines = ["## Held-out questions", ""]
    lines += [
        f"The bare base answered {held_out['right']} of {held_out['questions']}. The questions "
        "are in no training dialogue and were written before the first training; each has a "
        "pattern that the answer must match.",
        "",
    ]
    rows = [
        ["yes" if item["is_right"] else "**no**", item["question"], item["answer"]]
        for item in held_out["answers"]
    ]
    return lines + _table(("right", "question", "answer"), rows)


def _manners(report: dict[str, Any]) -> list[str]:
    lines = ["## Manners by scale", ""]
    lines += [
        "Marker: the share of words that belong to the manner, mean over 30 prompts. Transform: "
        "the marker of the text transform that made the training targets, on the base's own "
        "answers. Content: the share of answers that are still right. One answer is 0.03.",
        "",
    ]
    rows = []
    for name, curve in report["manners"].items():
        for row in curve:
            scale = f"{row['scales'][name]:g}"
            values = (row[name], row["transform"], row["content"])
            rows.append([name, scale, *map(_number, values)])
    lines += _table(("adapter", "scale", "marker", "transform", "content"), rows)
    lines += ["## Stacks", ""]
    header = ("stack", "pirate", "formal", "shout", "content")
    lines += _table(header, _marker_rows(report["stacks"]))
    lines += ["## After a swap", ""]
    lines += [
        "Markers of the next answer when the earlier answers were in another manner.",
        "",
    ]
    rows = [
        [
            f"{row['turns']} x {row['history']}",
            _stack(row["scales"]),
            *(_number(row[key]) for key in ("pirate", "formal", "shout")),
        ]
        for row in report["leaks"]
    ]
    return lines + _table(("earlier answers", "stack", "pirate", "formal", "shout"), rows)


def _island(rows: Sequence[dict[str, Any]]) -> list[str]:
    table = [
        [_stack(row["scales"]), _number(row["right"]), _number(row["refused"])] for row in rows
    ]
    lines = ["## The island", "", "42 held-out questions about Quillhaven.", ""]
    return lines + _table(("stack", "right", "refused"), table)


def _samples(chats: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    lines = ["## Sample chats", ""]
    for chat in chats:
        rows = [[_stack(turn["scales"]), turn["question"], turn["answer"]] for turn in chat]
        lines += _table(("stack", "question", "answer"), rows)
    return lines


def markdown(report: dict[str, Any]) -> str:
    """Return the Markdown page of a report made by ``measure``."""
    trained = report["trained"]
    sizes = report["size_bytes"]
    tokenization = report["tokenization"]
    lines = [
        "# What the demo measured",
        "",
        "Written by `python -m tests.demo_recipe`; greedy decoding through llama.cpp on one "
        "thread, on the files beside this page.",
        "",
        *_training(report["training"]),
        "## Files",
        "",
        *_table(("file", "bytes"), [[f"{name}.gguf", size] for name, size in sizes.items()]),
        f"Tokenization: {tokenization['different']} of {tokenization['strings']} strings differ "
        "from the trained tokenizer.",
        "",
        "Decode speed by number of adapters, one thread, one run on a machine that may be busy: "
        + ", ".join(f"{n}: {speed:.0f} t/s" for n, speed in report["decode_tokens_per_s"].items())
        + ".",
        "",
        *_held_out(report["held_out"]),
        "## Trained wordings",
        "",
        *_table(
            ("question", "right", "of"),
            [
                ["What is A plus B? (0 to 12)", *trained["sums"]],
                ["What is the capital of ...? (31 countries)", *trained["capitals"]],
                ["Places it never saw, refused", *trained["unknown_places_refused"]],
            ],
        ),
        "## Long chats",
        "",
        "Right answers of the base to known questions, by the tokens of chat before the answer.",
        "",
        *_table(
            ("tokens", "right", "of"),
            [
                [f"{start} to {start + LENGTH_STEP - 1}", *counts]
                for start, counts in report["long_chats"].items()
            ],
        ),
        *_manners(report),
        *_island(report["island"]),
        *_samples(report["samples"]),
    ]
    return "\n".join(lines).rstrip() + "\n"
