"""`tui push`: publish an adapter on the Hugging Face Hub, with a model card."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from engine.adapters.checking.check import require_fit
from engine.adapters.foreign.peft.config import CONFIG
from engine.adapters.peft_export.export import base_repository
from engine.hub.push.gguf import gguf_publication, hub_id
from engine.hub.push.model_card import completed_card, generated_card
from engine.hub.push.peft import peft_publication
from engine.hub.push.publication import Publication
from engine.hub.push.upload import Destination, destination, upload
from engine.resolve.reference import ResolvedAdapter, resolve_adapter
from modelfiles.errors import naming
from modelfiles.references.files import gguf_at
from modelfiles.references.hub import HubReference
from tui.commands.base_option import BASE, Base, named_base
from tui.commands.fetching import watching
from tui.errors import TuiError, UsageError
from tui.terminal.arguments import Parser
from tui.terminal.ask import has_terminal, is_answered_yes
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, warn, write_json, write_text
from tui.terminal.progress import Progress
from tui.text.sanitize import printable
from tui.text.tables import table_lines
from tui.text.units import size_text

_DESCRIPTION = """\
Publish an adapter on the Hugging Face Hub: a GGUF file, or a folder that PEFT saved, of which only
adapter_config.json, adapter_model.safetensors and README.md go up. REF is its path, the name of an
adapter in the model of --base, hf.co/user/repo, or the name of a pulled adapter. It is checked
first, also against the base of --base.

A card (README.md) is generated: the base, tags, rank, alpha, what it adapts and how to use it. A
README.md of a PEFT folder is kept and only its front matter is completed. A card that the
repository has already is kept, unless you agree or --force is given.

Before anything is public you are asked; without a terminal --yes is needed. The token is the one
of 'hf auth login', or HF_TOKEN."""

_EXAMPLES = """\
  tui push pirate.gguf hf.co/me/pirate-lora
  tui push pirate --base demo hf.co/me/pirate-lora --private
  tui push ./checkpoint-500 hf.co/me/pirate-lora --base-model meta-llama/Llama-3.2-1B --yes"""


def configure(parser: Parser) -> None:
    """Describe `push` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument("reference", metavar="REF", help="the adapter: a path, hf.co/…, or a name")
    parser.add_argument("target", metavar="hf.co/USER/REPO", help="where to; made if need be")
    parser.add_argument("--base", metavar=BASE, help="the model that has the adapter, or its base")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument(
        "--base-model", metavar="ID", help="the base's repository, such as Qwen/Qwen3-0.6B"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a card that the repository has already"
    )
    parser.add_argument("--yes", action="store_true", help="publish without being asked")
    parser.add_json_option(
        "print one JSON document: repository, url, commit, is_private, base_model, card "
        "(generated, completed or kept), files (name, size_bytes, sha256)"
    )


def run(args: argparse.Namespace) -> int:
    """Check the adapter, ask, upload it, and print its address."""
    repo = _repo(args.target)
    publication = publication_of(args.reference, args.base, args.base_model)
    for sentence in publication.notices:
        warn(sentence)
    if not publication.base_id:
        note(
            "The base's repository on the Hub is not known, so the adapter will not be listed "
            "under it: --base-model ID names it."
        )
    target = destination(repo)
    is_private = _is_private(target, args)
    card, card_state = _card(publication, target, args)
    if not (is_private or args.yes or _is_agreed(target, publication, card)):
        note("Nothing was uploaded.")
        return ExitCode.FAILED
    with Progress() as progress:
        try:
            uploaded = upload(
                target,
                publication.files,
                card,
                is_private=is_private,
                message=f"Upload the adapter {publication.title} with lora-tui",
                on_progress=progress.show,
            )
        except KeyboardInterrupt:
            progress.close()
            note(f"Interrupted; files are visible at {target.url} only once all have arrived.")
            raise
    if args.is_json:
        write_json(
            {
                "repository": repo,
                "url": uploaded.url,
                "commit": uploaded.commit,
                "is_private": is_private,
                "base_model": publication.base_id or None,
                "card": card_state,
                "files": [
                    {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
                    for file in publication.files
                ],
            }
        )
    else:
        write_text(f"published {'privately ' if is_private else ''}at {uploaded.url}")
    return ExitCode.DONE


def _repo(text: str) -> str:
    try:
        reference = HubReference.parse(text, "adapter")
    except ValueError as error:
        raise UsageError(f"{error}.") from None
    if reference is None:
        raise UsageError(f"'{text}' is no place on the Hugging Face Hub: write hf.co/user/repo.")
    if reference.choice is not None:
        raise UsageError(f"'{text}' names a file: write the repository, hf.co/{reference.repo}.")
    return reference.repo


def publication_of(text: str, base: str | None, base_model: str | None) -> Publication:
    """Return the checked publication, with the base repository that the user named."""
    base_id = hub_id(base_model) if base_model is not None else None
    if base_model is not None and base_id is None:
        raise UsageError(
            f"'{base_model}' is no repository of the Hub: write --base-model with an ID such as "
            "Qwen/Qwen3-0.6B."
        )
    named = None if base is None else named_base(base)
    with watching(text) as watch:
        stack = () if named is None else named.adapters
        adapter = resolve_adapter(text, stack=stack, watch=watch)
    publication = _checked(adapter, named)
    if base_id is None and named is not None and not publication.base_id:
        base_id = base_repository(named.header)
    return replace(publication, base_id=base_id) if base_id else publication


def _checked(adapter: ResolvedAdapter, base: Base | None) -> Publication:
    """Check the adapter, a GGUF one also against the base, and return its publication."""
    path, name = adapter.path, adapter.name or None
    with naming({path: adapter.name or adapter.shown}):
        if adapter.is_foreign or (path / CONFIG).is_file():
            return peft_publication(path if path.is_dir() else path.parent, name)
        publication = gguf_publication(gguf_at(path, "adapter"), name)
        if base is not None:
            with naming(base.names):
                require_fit(publication.files[0].path, base.header)
    return publication


def _is_private(target: Destination, args: argparse.Namespace) -> bool:
    """Return whether the files will be private.

    Raises `TuiError` if --private names a public repository, and `UsageError` if the files would be
    public and there is no terminal to ask at.
    """
    if args.private and target.is_there and not target.is_private:
        raise TuiError(
            f"hf.co/{target.repo} is public already: name another repository for --private, or "
            f"change it at {target.url}/settings."
        )
    is_private: bool = target.is_private if target.is_there else args.private
    if not (is_private or args.yes or has_terminal()):
        other = "" if target.is_there else ", or --private"
        raise UsageError(
            f"The adapter would be public at hf.co/{target.repo}, and there is no terminal to "
            f"ask: add --yes to publish it{other}."
        )
    return is_private


def _card(
    publication: Publication, target: Destination, args: argparse.Namespace
) -> tuple[str | None, str]:
    """Return the card to upload, None to keep the repository's, and its state for the report."""
    if target.has_card and not args.force:
        question = f"hf.co/{target.repo} has a card already. Replace it?"
        if args.yes or not has_terminal() or not is_answered_yes(question):
            note(f"The card of hf.co/{target.repo} is kept; --force replaces it.")
            return None, "kept"
    if publication.readme is not None:
        is_chosen = args.base_model is not None
        return completed_card(
            publication.readme, publication, is_base_chosen=is_chosen
        ), "completed"
    return generated_card(publication, target.repo, _reference(publication, target)), "generated"


def _reference(publication: Publication, target: Destination) -> str:
    """Return the adapter's reference, with its file if the repository holds other GGUF files."""
    own = publication.files[0].name
    others = [name for name in target.files if name.lower().endswith(".gguf") and name != own]
    is_one_of_several = publication.kind == "gguf" and others
    return f"hf.co/{target.repo}:{own}" if is_one_of_several else f"hf.co/{target.repo}"


def _is_agreed(target: Destination, publication: Publication, card: str | None) -> bool:
    """Ask whether these files may be public."""
    sizes = [(file.name, file.size_bytes) for file in publication.files]
    if card is not None:
        sizes.append(("README.md", len(card.encode())))
    rows = [
        (name, size_text(size_bytes), "replaced" if name in target.files else "")
        for name, size_bytes in sizes
    ]
    kind = "the public repository" if target.is_there else "a new public repository"
    base = f", an adapter for {publication.base_id}" if publication.base_id else ""
    lines = [
        f"To {kind} hf.co/{target.repo} go, as {target.account}{base}:",
        *(f"    {line}" for line in table_lines(rows)),
    ]
    print(printable("\n".join(lines)), file=sys.stderr)
    return is_answered_yes("Everybody can read a public repository. Publish?")
