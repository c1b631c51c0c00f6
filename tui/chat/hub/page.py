"""Look up one repository of the Hub and put what is known about it into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from textual.content import Content

from engine.errors import HubError
from engine.hub.client.adapter_files import CARD, AdapterChoice, adapter_choices
from engine.hub.pull.adapter import RemoteAdapter, revision_of
from engine.hub.search.card_text import remote_card
from engine.hub.search.fit import Fit, Verdict
from engine.hub.search.search import Repository
from modelfiles.references.hub import HubReference
from tui.chat.hub.columns import access_mark
from tui.chat.themes import MUTED
from tui.text.sanitize import printable_line
from tui.text.units import age_text, count_text, size_text

_MAX_SHOWN = 5
"""Adapters of one repository shown at a time."""
_KINDS = {"gguf": "GGUF", "peft": "PEFT", "mlx": "MLX"}


@dataclass(frozen=True, slots=True)
class Found:
    """A repository at its newest commit."""

    repo: str
    revision: str
    choices: tuple[AdapterChoice, ...]
    base_models: tuple[str, ...]
    has_card: bool

    def remote(self, index: int) -> RemoteAdapter:
        """Return one of its adapters in the form that the pull takes."""
        return RemoteAdapter(self.repo, self.revision, self.choices[index], self.base_models)


def looked_up(repo: str) -> Found:
    """Look a repository up on the Hub; raise `HubError` on failure."""
    info = revision_of(HubReference(repo, None, "adapter"))
    has_card = any(file.path == CARD for file in info.files)
    choices = tuple(adapter_choices(info.files))
    return Found(info.repo, info.sha, choices, info.base_models, has_card)


def card_of(found: Found) -> str:
    """Return a repository's card as Markdown, or a line that says why there is none.

    A card that cannot be read raises nothing: the verdict does not depend on it.
    """
    if not found.has_card:
        return "*It has no card.*"
    try:
        return remote_card(found.repo, found.revision) or "*Its card is empty.*"
    except HubError:
        return "*Its card cannot be read.*"


def facts_content(repository: Repository, now: datetime) -> Content:
    """Return the facts from the search in one line."""
    downloads, likes = repository.downloads, repository.likes
    facts = [str(repository.kind)]
    if downloads is not None:
        facts.append("1 download" if downloads == 1 else f"{count_text(downloads)} downloads")
    if likes is not None:
        facts.append("1 like" if likes == 1 else f"{count_text(likes)} likes")
    if repository.modified is not None:
        facts.append(age_text(repository.modified, now))
    if repository.license:
        facts.append(printable_line(repository.license))
    content = Content.styled(" · ".join(facts), MUTED)
    mark = access_mark(repository)
    return content + Content.styled(f" · {mark}", "$text-warning") if mark else content


def choices_content(choices: Sequence[AdapterChoice], index: int) -> Content:
    """Return the adapters of a repository; of many, those around the chosen one."""
    first = max(0, min(index - _MAX_SHOWN // 2, len(choices) - _MAX_SHOWN))
    lines = []
    for number in range(first, min(len(choices), first + _MAX_SHOWN)):
        choice = choices[number]
        label = printable_line(choice.label or choice.weights.path)
        facts = f"  {_KINDS[choice.kind]}, {size_text(choice.size_bytes)}"
        is_chosen = number == index
        mark = "▸ " if is_chosen and len(choices) > 1 else "  " if len(choices) > 1 else ""
        name = Content.styled(mark + label, "bold" if is_chosen else MUTED)
        lines.append(name + Content.styled(facts, MUTED))
    if len(choices) > _MAX_SHOWN:
        lines.append(Content.styled(f"  {index + 1} of {len(choices)}", MUTED))
    return Content("\n").join(lines)


def verdict_content(fit: Fit | None, base: str) -> Content:
    """Return whether an adapter fits the base of this name, and why not; None is not known yet."""
    name = printable_line(base)
    if fit is None:
        return Content.styled(f"checking whether it fits {name}…", MUTED)
    reason = printable_line(fit.reason)
    match fit.verdict:
        case Verdict.FITS:
            return Content.styled(f"✓ fits {name}", "$text-success")
        case Verdict.MISFIT:
            return Content.styled(f"✗ does not fit {name}: ", "$text-error") + Content(reason)
        case Verdict.UNKNOWN:
            head = Content.styled("? whether it fits cannot be told: ", "$text-warning")
            return head + Content(reason)


def question_of(choice: AdapterChoice, fit: Fit, *, is_here: bool) -> str:
    """Return the question asked before a pull; `is_here` says that nothing needs downloading."""
    size = size_text(choice.size_bytes)
    head = "It is on this machine already:" if is_here else f"Pull {size},"
    steps = ("" if choice.kind == "gguf" else " convert it and") + " put it into the rack"
    doubt = " although it may not fit" if fit.verdict is Verdict.UNKNOWN else ""
    head = head if is_here or choice.kind != "gguf" else f"Pull {size} and"
    return f"{head}{steps}{doubt}?"
