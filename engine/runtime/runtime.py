"""Hold a loaded base with its context, adapters, KV cache and the stack in force."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from engine.adapters.fusing.plan import BType
from engine.disk.handle import Handle
from engine.errors import BaseError
from engine.gguf.base_facts import base_facts
from engine.gguf.ggml_type import GgmlType
from engine.gguf.header import GgufHeader
from engine.gguf.model_header import require_base
from engine.hub.search.base_names import identity_of
from engine.llama.context import Context
from engine.llama.model import Model
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseInfo, Form, LoadSpec
from engine.runtime import activated
from engine.runtime.effect.measured import Effects
from engine.runtime.effect.probe import EffectProbe
from engine.runtime.kv.cache import KvCache
from engine.runtime.kv.cells import stack_key
from engine.runtime.kv.snapshot_files import SnapshotFolder, base_fingerprint
from engine.runtime.kv.snapshots import WORTH_SAVING, SnapshotStore, default_budget_bytes
from engine.runtime.load_options import ContextOptions, kv_type_of, rpc_hosts_of
from engine.runtime.stacks.applied_stack import StackForms
from engine.runtime.stacks.fused_files import FusedCache
from engine.runtime.stacks.fuser import Fuser
from engine.stack import AdapterStack
from modelfiles.parameters import Parameters
from modelfiles.template.check import template_problem

log = logging.getLogger("engine.runtime.runtime")


class Runtime(Handle):
    """One base, one context, the adapters of the stack and the KV cache.

    Args:
        spec: The base and the load-time parameters.
        on_progress: Called with the fraction read; returning False aborts the load.
        settings: How memory and exactness are traded for time.

    Raises:
        GgufError: The file is missing or not GGUF.
        BaseError: llama.cpp cannot load it as a base, a parameter is invalid, or a machine of
            rpc_hosts cannot be used.
        EngineError: The context cannot be created.
    """

    def __init__(
        self,
        spec: LoadSpec,
        *,
        on_progress: Callable[[float], bool] | None = None,
        settings: EngineSettings | None = None,
    ) -> None:
        started = time.perf_counter()
        parameters = spec.parameters
        path = Path(spec.base.path)
        kv_type_of(parameters)  # fail before gigabytes are loaded
        self._header = require_base(path)
        self.model = Model(
            path,
            n_gpu_layers=-1 if parameters.num_gpu is None else parameters.num_gpu,
            main_gpu=parameters.main_gpu or 0,
            use_mmap=parameters.use_mmap is not False,
            rpc_hosts=rpc_hosts_of(parameters),
            on_progress=on_progress,
        )
        try:
            if not self.model.has_decoder:
                raise BaseError("cannot generate text: it has no decoder.", path)
            options = ContextOptions.of(parameters, self.model)
            self.context = Context(self.model, **asdict(options))
        except BaseException:
            self.model.close()
            raise
        self.settings = settings or EngineSettings()
        n_threads = options.n_threads
        self._cache_facts = (options.kv_type, options.uses_flash_attention, options.n_ctx)
        self.kv = KvCache(self.context, SnapshotStore(_snapshot_budget(self.settings, self.model)))
        self.kv.snapshots.folder = self._snapshot_folder()
        self.stack = AdapterStack()
        self._fuser = Fuser(_fused_cache(self.settings), b_type=_b_type(self._header))
        self.forms = StackForms(
            self.model, self.context, self._header, self._fuser, self.settings.fuse
        )
        self.probe = EffectProbe(self.model, n_threads=n_threads)
        self.effects = Effects(self.model, self.forms, self.probe, n_threads=n_threads)
        self._prompt: tuple[int, ...] = ()  # the last one: decides which adapters are invoked
        self._key = stack_key(self.stack.digest)  # key of the stack applied to the context
        facts = base_facts(self._header)
        if self._header.text("general.name") is None and spec.base.name:
            facts = replace(facts, name=spec.base.name)
        self.info = BaseInfo(
            facts=facts,
            description=_description(self.model),
            n_ctx=self.context.n_ctx,
            n_threads=n_threads,
            load_s=time.perf_counter() - started,
            repositories=identity_of(self._header).repositories,
            notices=_notices(parameters, self.context),
            template_problem=template_problem(self.model.chat_template),
        )

    def set_stack(self, stack: AdapterStack) -> Form:
        """Put `stack` in force for every evaluation from here on; return its current form.

        An adapter stays loaded while it is in the stack, even switched off, so that switching it
        on again costs nothing. On an error the previous stack stays in force.

        Raises:
            GgufError: An adapter's file is missing or not GGUF.
            AdapterError: An adapter does not fit the base, its file has changed since it was read,
                or llama.cpp cannot take so many.
        """
        self.forms.load(stack)
        # Adapters that are not invoked are off, and only adapters that are on are fused.
        in_force = activated.plan(stack, self._prompt)[-1].stack
        self.forms.want(in_force)
        self._put_in_force(in_force)
        self.stack = stack
        self.forms.keep_only(stack)
        return self.forms.form

    def poll(self) -> None:
        """Switch to the stack's fused form if it has been built in the background."""
        self.forms.poll()

    def compare_forms(self) -> Generator[None, None, float | None]:
        """Measure which form of the stack decodes faster and use it; see `StackForms.compare`."""
        return self.forms.compare(lambda: self.probe.scratch)

    def prefill(
        self,
        tokens: Sequence[int],
        *,
        keeps: bool = False,
        needs_logits: bool = True,
    ) -> Iterator[int]:
        """Evaluate a prompt in chunks under the stack in force.

        Yields how many of `tokens` are in the KV cache: first the reused ones, then the count
        after each chunk. Between two yields the caller may stop or set another stack; tokens
        evaluated under the previous stack are then evaluated again, unless `keeps`. To stop in the
        middle of a chunk, set `context.interrupts`; the next iteration repeats that chunk.

        Args:
            tokens: The prompt, at least one token.
            keeps: Reuse entries with the same tokens, whatever stack they were computed under.
            needs_logits: Always evaluate the last token, since an answer needs its logits.

        Raises:
            GenerationError: A failure inside llama.cpp; the KV cache is then empty.
        """
        self._prompt = tuple(tokens)
        n_done, stack = 0, None
        while n_done < len(tokens):
            if stack is not self.stack:
                stack = self.stack
                segments = activated.plan(stack, tokens)
                cells = activated.cells_of_plan(segments, tokens)
                if segments[-1].stack.digest != self.forms.applied.digest:
                    self.forms.want(segments[-1].stack)  # the stack of the answer
                n_done = self.kv.prepare(cells, keeps=keeps, needs_logits=needs_logits)
            else:
                segment = next(part for part in segments if n_done < part.end)
                self._put_in_force(segment.stack)
                end = self._chunk_end(n_done, segment.end, len(tokens))
                if self.kv.decode(tokens[n_done:end], self._key):
                    n_done = end
                if n_done == len(tokens) - 1 >= WORTH_SAVING and not self.kv.can_cut:
                    # Allows repeating this answer, and returning here after another stack.
                    self.kv.save()
            yield n_done

    def decode(self, token: int) -> None:
        """Evaluate one token of the answer under the stack in force.

        Raises:
            GenerationError: A failure inside llama.cpp; the KV cache is then empty.
        """
        self.poll()
        self.kv.decode([token], self._key)

    @property
    def is_approximate(self) -> bool:
        """Whether part of the KV cache was not computed under the stack in force."""
        tokens = self.kv.held[0].tolist()
        segments = activated.plan(self.stack, self._prompt)
        return not self.kv.is_exact(activated.cells_of_plan(segments, tokens))

    @property
    def stack_notices(self) -> tuple[str, ...]:
        """Sentences for the user on adapters of the stack that the last prompt left off."""
        return activated.notices(self.stack, self._prompt)

    def configure(self, settings: EngineSettings) -> None:
        """Use `settings` from here on; a smaller memory budget drops snapshots."""
        before, self.settings = self.settings, settings
        if _fused_tier(settings) != _fused_tier(before):
            self._fuser.set_cache(_fused_cache(settings))
        self.forms.set_mode(settings.fuse)
        snapshots = self.kv.snapshots
        if settings.kv_memory_bytes != before.kv_memory_bytes:
            snapshots.budget_bytes = _snapshot_budget(settings, self.model)
        if _disk_tier(settings) != _disk_tier(before):
            snapshots.folder = self._snapshot_folder()

    def persist(self) -> int:
        """Write snapshots that a later process can resume from; return how many were written.

        Writes none if the settings name no folder. Call it when idle and before closing: it takes
        as long as the disk needs.
        """
        if self.kv.snapshots.folder is None or self.model.is_closed:
            return 0
        if self.kv.n_tokens >= WORTH_SAVING:
            self.kv.save()
        return self.kv.snapshots.persist()

    def _snapshot_folder(self) -> SnapshotFolder | None:
        folder, budget_bytes = _disk_tier(self.settings)
        if folder is None or budget_bytes <= 0:
            return None
        try:
            fingerprint = base_fingerprint(self._header, self._cache_facts)
        except OSError as error:
            # The base's file was removed or replaced after loading: go on without the folder.
            log.warning("no KV snapshots on disk: %s", error)
            return None
        return SnapshotFolder(Path(folder) / "kv", budget_bytes, fingerprint)

    def _chunk_end(self, n_done: int, end: int, n_tokens: int) -> int:
        """Return the end of the next chunk; a checkpoint needs the last token in its own chunk."""
        end = min(n_done + self.context.n_batch, end)
        is_last_apart = not self.kv.can_cut and n_done < n_tokens - 1
        return min(end, n_tokens - 1) if is_last_apart else end

    def _put_in_force(self, stack: AdapterStack) -> None:
        """Apply `stack` from the next evaluation on."""
        self.forms.apply(stack)
        self._key = stack_key(stack.digest)

    def _free(self) -> None:
        # In the order that llama.cpp requires.
        self.forms.close()
        self.model.close()


def _description(model: Model) -> str:
    """Return llama.cpp's description with `?B` replaced by the size: `llama 2.9M Q8_0`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if model.n_params >= limit:
            number = model.n_params / limit
            size = f"{number:.0f}{unit}" if number >= 10 else f"{number:.1f}{unit}"
            break
    else:
        size = str(model.n_params)
    words = [word for word in model.description.split() if word not in ("(guessed)", "all")]
    return " ".join(size if word == "?B" else word for word in words)


def _notices(parameters: Parameters, context: Context) -> tuple[str, ...]:
    notices = []
    wanted, n_ctx = parameters.num_ctx or 0, context.n_ctx
    if wanted > n_ctx:
        notices.append(f"num_ctx {wanted} is more than the base was trained for: {n_ctx} is used.")
    ubatch, batch = parameters.num_ubatch or 0, parameters.num_batch or 0
    if ubatch > batch > 0:
        notices.append(
            f"num_ubatch {ubatch} is more than num_batch {batch}: {context.n_ubatch} is used."
        )
    return tuple(notices)


def _snapshot_budget(settings: EngineSettings, model: Model) -> int:
    wanted = settings.kv_memory_bytes
    return default_budget_bytes(model.size_bytes) if wanted is None else wanted


def _disk_tier(settings: EngineSettings) -> tuple[str | None, int]:
    return settings.cache_folder, settings.kv_disk_bytes


def _fused_tier(settings: EngineSettings) -> tuple[str | None, int]:
    return settings.cache_folder, settings.fused_disk_bytes


def _fused_cache(settings: EngineSettings) -> FusedCache | None:
    folder, budget_bytes = _fused_tier(settings)
    if folder is None or budget_bytes <= 0:
        return None
    return FusedCache(Path(folder) / "fused", budget_bytes)


def _b_type(base: GgufHeader) -> BType:
    """Return the dtype of a fused adapter's B: F32 if every tensor of the base is F32, else F16."""
    is_f32 = all(tensor.type is GgmlType.F32 for tensor in base.tensors.values())
    return GgmlType.F32 if is_f32 else GgmlType.F16
