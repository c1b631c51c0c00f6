"""Synchronous interface to the engine for scripts and notebooks.

    from engine.api import open_base

    with open_base("base.gguf") as base:
        base.set_stack([("pirate.gguf", 0.7), ("my-peft-folder", 0.4)])
        print(base.chat("Hello"))
        base.rescale("pirate", 1.0)
        print(base.chat("And now?"))

Two functions find adapters on the Hugging Face Hub and download them:

    for found in search_adapters("sql", base="base.gguf"):
        print(found.name, found.kind, found.downloads)
    base.set_stack([(pull_adapter("hf.co/user/sql-lora").path, 1.0)])

llama.cpp runs in the calling process: every adapter is checked before llama.cpp loads it, but a
crash inside llama.cpp ends the whole process. The chat's worker process avoids that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from engine.adapters.read import read_adapter
from engine.disk.handle import Handle
from engine.errors import GenerationError, HubError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, BaseReference, ChatMessage, GenerationStats, LoadSpec
from engine.resolve.reference import gguf_of, resolve_adapter
from engine.runtime.answer.generation import generate
from engine.runtime.runtime import Runtime
from engine.stack import Adapter, AdapterStack, stack_of
from modelfiles.parameters import Parameters
from modelfiles.references.model_name import free_name

if TYPE_CHECKING:
    from engine.hub.search.search import Repository, Sort
    from modelfiles.references.pulled_adapters import PulledAdapter


class Base(Handle):
    """An open base with a stack of adapters and one conversation; created by `open_base`."""

    def __init__(self, runtime: Runtime, parameters: Parameters, file: Path) -> None:
        self._runtime = runtime
        self._parameters = parameters
        self._file = file
        self._temporary: TemporaryDirectory[str] | None = None
        """Folder of converted adapters if the settings name no `cache_folder`."""
        self.messages: list[ChatMessage] = []
        """The conversation so far, without the system message."""
        self.system: str | None = None
        """The system message; None or '' for none."""
        self.template: str | None = None
        """A Go template, as TEMPLATE has it; None for the base's own chat template."""
        self.thinks: bool | None = None
        """Whether a reasoning model is asked to think; None leaves it to its template."""
        self.thinking = ""
        """The model's thinking before its last answer."""
        self.stats: GenerationStats | None = None
        """Token counts and times of the last answer."""

    @property
    def info(self) -> BaseInfo:
        """Description of the base."""
        return self._runtime.info

    @property
    def stack(self) -> AdapterStack:
        """The stack in force."""
        return self._runtime.stack

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """The adapters of the stack, with rank, alpha, size and memory in bytes."""
        return tuple(entry.adapter for entry in self.stack.entries)

    def set_stack(self, pairs: Iterable[tuple[str | Path, float]]) -> AdapterStack:
        """Replace the stack by adapters, each with its scale.

        An adapter is named as in `engine.resolve.reference`: a GGUF file, the folder of a PEFT or
        MLX adapter, `hf.co/user/repo[:file]`, or the name of a pulled one. What has to be converted
        for the base is kept in the settings' `cache_folder`. Its name is the pulled adapter's, else
        the file's stem or the folder's name, with `-2`, `-3` … appended if that is taken. On an
        error the previous stack stays in force.

        Raises:
            ReferenceNotFoundError: An adapter is missing or unreadable.
            ModelfileError: A file is not GGUF, or a folder does not hold one adapter.
            GgufError: A GGUF file is damaged.
            AdapterError: A file is not an adapter, cannot be converted, or does not fit the base.
            HubError: An adapter cannot be pulled.
        """
        adapters: list[tuple[Adapter, float]] = []
        for reference, scale in pairs:
            found = resolve_adapter(str(reference))
            cache = self._cache() if found.is_foreign else None
            spec = gguf_of(found, self._file, cache=cache)
            name = free_name(spec.name, {adapter.name for adapter, _ in adapters})
            adapters.append((read_adapter(spec.path, name), scale))
        self._runtime.set_stack(stack_of(adapters))
        return self.stack

    def rescale(self, name: str, scale: float) -> AdapterStack:
        """Set one adapter's scale; raises `AdapterError` if the stack has none of that name."""
        self._runtime.set_stack(self.stack.with_scale(name, scale))
        return self.stack

    def effect(self) -> float:
        """Return the stack's effect on the base in nats; 0 means none.

        It is the mean KL divergence of the next-token distribution under the stack from the bare
        base's, over a probe of about 30 tokens, and is cached for each stack.

        Raises:
            EngineError: The stack drives the logits out of range, so the effect is undefined.
        """
        stack, effects = self.stack, self._runtime.effects
        if not stack.effective:
            return 0.0
        for _ in effects.measure_stack(stack):
            pass
        nats = effects.of_stack(stack.digest)
        assert nats is not None  # the line above measures it or raises
        return nats

    def chat(
        self,
        message: str,
        *,
        parameters: Parameters | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """Add `message` to the conversation and return the answer, which is added too.

        Args:
            message: The user's message.
            parameters: Override those the base was opened with, for this answer.
            on_text: Called with each piece of the answer as it arrives.

        Raises:
            EngineError: The answer failed; the conversation is unchanged.
        """
        merged = (parameters or Parameters()).over(self._parameters)
        system = [ChatMessage("system", self.system)] if self.system else []
        asked = ChatMessage("user", message)
        finished: Finished | None = None
        conversation = (*system, *self.messages, asked)
        request = ChatRequest(conversation, merged, self.template, self.thinks)
        for event in generate(self._runtime, request):
            if isinstance(event, Tokens) and on_text is not None and event.text:
                on_text(event.text)
            elif isinstance(event, Finished):
                finished = event
        if finished is None or finished.reason == "failed":
            raise GenerationError(finished.error if finished else "There was no answer.")
        self.messages += [asked, ChatMessage("assistant", finished.text)]
        self.stats = finished.stats
        self.thinking = finished.thinking
        return finished.text

    def clear(self) -> None:
        """Begin a new conversation under the same stack."""
        self.messages.clear()

    def _free(self) -> None:
        """Write KV snapshots to disk if the settings allow it; free the base and its adapters."""
        try:
            self._runtime.persist()
        finally:
            self._runtime.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    def _cache(self) -> Path:
        """Return the folder of converted adapters; a temporary one if the settings name none."""
        kept = self._runtime.settings.cache_folder
        if kept is None:
            self._temporary = self._temporary or TemporaryDirectory(prefix="lora-tui-")
            kept = self._temporary.name
        return Path(kept) / "converted"


def open_base(
    path: str | Path,
    parameters: Parameters | None = None,
    settings: EngineSettings | None = None,
) -> Base:
    """Load a base GGUF.

    Args:
        path: The GGUF file.
        parameters: Load-time parameters (num_ctx, num_thread …) and defaults for every answer.
        settings: How memory and exactness are traded for time (fused stacks, KV snapshots).

    Raises:
        GgufError: The file is missing or not GGUF.
        BaseError: llama.cpp cannot load it as a base.
    """
    chosen = parameters or Parameters()
    file = Path(path).expanduser().absolute()
    return Base(
        Runtime(LoadSpec(BaseReference(str(file)), chosen), settings=settings), chosen, file
    )


def search_adapters(
    query: str = "",
    base: str | Path | None = None,
    *,
    limit: int = 100,
    sort: Sort = "downloads",
) -> Iterator[Repository]:
    """Yield adapters on the Hugging Face Hub as they arrive.

    Args:
        query: Words of the repository's name; '' for all.
        base: A GGUF file, whose identity and aliases are searched for, or the name of a
            repository, `user/repo`; None for every repository tagged `lora`.
        limit: Most repositories to yield.
        sort: Order: `downloads` (of 30 days), `likes` or `recent`.

    Raises:
        HubError: The Hub cannot be reached, refuses, or answers with invalid data.
        BaseError: The file is not a base; `GgufError` if it is not GGUF.
    """
    from engine.gguf.model_header import require_base
    from engine.hub.search.base_names import BaseIdentity, aliases, identity_of
    from engine.hub.search.search import search_adapters as search

    identity = None
    if base is not None:
        file = Path(base).expanduser()
        is_name = isinstance(base, str) and base.count("/") == 1 and not file.exists()
        if is_name:
            identity = BaseIdentity(str(base), (str(base), *aliases(str(base))))
        else:
            identity = identity_of(require_base(file.absolute()))
    return search(query, identity, limit=limit, sort=sort)


def pull_adapter(ref: str, home: str | Path | None = None) -> PulledAdapter:
    """Download an adapter from the Hugging Face Hub and return its record.

    Pass the record's `path` to `Base.set_stack`, its `name` to `tui run --lora`. The files lie in
    the Hub's own cache; a second call for the same revision downloads nothing.

    Args:
        ref: `hf.co/user/repo`, with `:file` or `:folder` if it holds several adapters.
        home: Folder of the record; None for the folder that `tui` uses.

    Raises:
        HubError: `ref` is not a reference, the Hub refuses or cannot be reached, or the repository
            holds no adapter.
        StoreError: The record cannot be written.
    """
    from engine.hub.pull.adapter import pull_adapter as pull
    from modelfiles.references.hub import HubReference
    from modelfiles.state.home import state_home

    try:
        reference = HubReference.parse(ref, "adapter")
    except ValueError as error:
        raise HubError(f"{error}.") from None
    if reference is None:
        raise HubError(f"{ref!r} is no reference to the Hub: write hf.co/user/repo[:file].")
    return pull(reference, state_home() if home is None else Path(home))
