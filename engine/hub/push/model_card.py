"""Write the card of a published adapter: front matter for the Hub, facts and usage.

Source of the keys: the Hub's documentation of model cards (`base_model`, `base_model_relation`,
`library_name`, `tags`); the first two list an adapter on the page of its base model.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any, Final

from engine.errors import HubError
from engine.hub.client.http import silenced
from engine.hub.push.gguf import hub_id
from engine.hub.push.publication import CARD, Publication

_LIBRARIES: Final = {"gguf": "gguf", "peft": "peft"}
_UNKNOWN_BASE: Final = "its base"


def generated_card(publication: Publication, repo: str, reference: str) -> str:
    """Return a complete card in Markdown; `reference` names the adapter for `tui run --lora`."""
    from huggingface_hub import ModelCardData

    base = publication.base_id
    named: dict[str, Any] = {"base_model": base, "base_model_relation": "adapter"} if base else {}
    data = ModelCardData(
        **named, library_name=_LIBRARIES[publication.kind], tags=_tags(publication)
    )
    parts = (f"---\n{data.to_yaml()}\n---", *_body(publication, repo, reference))
    return "\n\n".join(parts) + "\n"


def completed_card(text: str, publication: Publication, *, is_base_chosen: bool) -> str:
    """Return an existing card with missing front matter filled in and its body unchanged.

    Tags are added, other keys only if missing. A base that is not a Hub repository, such as the
    path that PEFT writes, is replaced or removed, since the Hub refuses it; `is_base_chosen`
    replaces any base. Raises `HubError` if the front matter cannot be read.
    """
    from huggingface_hub import ModelCard

    with silenced():  # the client logs that a card had no front matter
        try:
            card = ModelCard(text)
        except Exception as error:  # YAML's and the client's errors have no common base class
            first_line = str(error).partition("\n")[0]
            raise HubError(
                f"The front matter of {CARD} cannot be read ({first_line}): correct it first."
            ) from error
        # The client does not type this method.
        data: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    named = data.get("base_model")
    if publication.base_id and (is_base_chosen or not _is_base(named)):
        data["base_model"] = publication.base_id
    elif not _is_base(named):
        data.pop("base_model", None)
    if "base_model" in data:
        data.setdefault("base_model_relation", "adapter")
    data.setdefault("library_name", _LIBRARIES[publication.kind])
    tags = data.get("tags")
    own = [tags] if isinstance(tags, str) else [str(tag) for tag in tags or ()]
    data["tags"] = list(dict.fromkeys((*own, *_tags(publication))))
    with silenced():
        # The client's class keeps the keys that it does not know.
        card.data = type(card.data)(**data)
        return str(card.content)


def _is_base(named: object) -> bool:
    names = named if isinstance(named, list) else [named]
    return bool(names) and all(isinstance(name, str) and hub_id(name) == name for name in names)


def _tags(publication: Publication) -> list[str]:
    return [
        publication.method.lower(),
        *(["gguf"] if publication.kind == "gguf" else []),
        "adapter",
    ]


def _body(publication: Publication, repo: str, reference: str) -> Iterator[str]:
    base = publication.base_id
    yield f"# {_inline(publication.title)}"
    if publication.description:
        yield _inline(publication.description)
    link = f"[{base}](https://huggingface.co/{base})" if base else "a base that it does not name"
    form = "one GGUF file" if publication.kind == "gguf" else "a PEFT folder"
    method = "LoRA" if publication.method == "LORA" else _inline(publication.method)
    yield f"A {method} adapter for {link}, as {form}."
    yield _table(("", ""), publication.facts)
    if publication.stack:
        yield "## Fused from"
        yield (
            "Several adapters side by side along the rank, their scales in the weights: one "
            "adapter with the effect of them all."
        )
        rows = [(name, f"{scale:g}") for name, scale in publication.stack]
        yield _table(("adapter", "scale"), rows)
    yield "## Use"
    yield from _use(publication, repo, reference)


def _use(publication: Publication, repo: str, reference: str) -> Iterator[str]:
    base = publication.base_id or _UNKNOWN_BASE
    if publication.is_usable:
        yield f"With lora-tui, where NAME is a model of {base}:"
        yield f"```sh\ntui run NAME --lora {reference}\n```"
    if publication.kind == "gguf":
        file = publication.files[0].name
        yield "With llama.cpp, where base.gguf is that base:"
        yield f"```sh\nllama-cli -m base.gguf --lora {shlex.quote(file)}\n```"
        return
    yield "With PEFT:"
    yield (
        "```python\n"
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{publication.base_id or "BASE"}")\n'
        f'model = PeftModel.from_pretrained(base, "{repo}")\n'
        "```"
    )


def _table(headings: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [headings, ("---", "---"), *((_inline(a), _inline(b)) for a, b in rows)]
    return "\n".join(f"| {left} | {right} |" for left, right in lines)


def _inline(text: str) -> str:
    """Return text as one line escaped for Markdown, including table cells."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    for character in "\\`*_[]<>|#":
        flat = flat.replace(character, f"\\{character}")
    return " ".join(flat.split())
