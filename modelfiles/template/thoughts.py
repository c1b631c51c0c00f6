"""The tags between which a reasoning model thinks before it answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThoughtTags:
    """Where a thought begins and ends in what a model writes."""

    opening: str
    closing: str


DEFAULT_TAGS = ThoughtTags("<think>", "</think>")
"""Those of DeepSeek R1, Qwen 3 and most of the others."""

_KNOWN = (
    DEFAULT_TAGS,
    ThoughtTags("[THINK]", "[/THINK]"),
    ThoughtTags("<seed:think>", "</seed:think>"),
    ThoughtTags("<|begin_of_thought|>", "<|end_of_thought|>"),
)


def tags_in(template: str) -> ThoughtTags | None:
    """Return the tags that a chat template mentions, None where it knows of no thoughts."""
    return next((tags for tags in _KNOWN if tags.opening in template), None)
