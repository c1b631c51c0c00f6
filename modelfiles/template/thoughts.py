"""The tags around the thoughts that a reasoning model writes before its answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThoughtTags:
    """The texts that begin and end a thought in a model's output."""

    opening: str
    closing: str


DEFAULT_TAGS = ThoughtTags("<think>", "</think>")
"""The tags of DeepSeek R1, Qwen 3 and most other models."""

KNOWN_TAGS = (
    DEFAULT_TAGS,
    ThoughtTags("[THINK]", "[/THINK]"),
    ThoughtTags("<seed:think>", "</seed:think>"),
    ThoughtTags("<|begin_of_thought|>", "<|end_of_thought|>"),
)


def tags_in(template: str) -> ThoughtTags | None:
    """Return the first known tags that a chat template mentions; None if it mentions none."""
    return next((tags for tags in KNOWN_TAGS if tags.opening in template), None)
