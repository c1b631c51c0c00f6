"""The PARAMETER values of a model: their types, defaults and how one set overrides another."""

from __future__ import annotations

import msgspec


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """PARAMETER values; None means not set, so that a base's value or the default applies.

    Names, types and defaults follow Ollama's `api/types.go`.
    """

    num_ctx: int | None = None
    """Context length in tokens."""
    num_batch: int | None = None
    num_gpu: int | None = None
    """Layers kept on the GPU; -1 chooses."""
    main_gpu: int | None = None
    use_mmap: bool | None = None
    num_thread: int | None = None
    """Threads for evaluation; 0 chooses."""
    draft_num_predict: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    """Seed of the sampler; negative draws a new one for every answer."""
    num_predict: int | None = None
    """Most tokens in an answer; negative is unlimited (bounded by the context)."""
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    """Tokens looked back at for penalties; 0 is off, -1 the whole context."""
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None

    def over(self, base: Parameters) -> Parameters:
        """Return `base` with every value that is set here replaced; `stop` is replaced whole."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(base, **{k: v for k, v in values.items() if v is not None})
