"""Read the JSON files of Ollama's store: manifests, configurations, `params` and `messages`."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from modelfiles.errors import OllamaError, ParameterError
from modelfiles.model import Message
from modelfiles.parameters import KINDS, Parameters, Value, build_parameters, parse_value

LAYER_PREFIX = "application/vnd.ollama.image."

Record = TypeVar("Record")


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a model: its digest, size and media type."""

    media_type: str = msgspec.field(name="mediaType", default="")
    # The pattern guards the file name that is built from the digest.
    digest: Annotated[str, msgspec.Meta(pattern=r"\Asha256[:-][0-9a-f]{64}\Z")]
    size: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def kind(self) -> str:
        """The end of its media type: `model`, `adapter`, `template` …"""
        return self.media_type.removeprefix(LAYER_PREFIX)


class OllamaManifest(msgspec.Struct, frozen=True):
    """The manifest of a model: its configuration and its layers."""

    config: Layer
    layers: tuple[Layer, ...] | None = None

    def of_kind(self, *kinds: str) -> list[Layer]:
        """Return the layers of these kinds, in order."""
        return [layer for layer in self.layers or () if layer.kind in kinds]


class OllamaConfig(msgspec.Struct, frozen=True):
    """The fields of a model's configuration that are used here."""

    model_format: str | None = None
    """`gguf` (also when absent), or `safetensors` for its own MLX engine."""
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    remote_host: str | None = None
    """Set on a stub: the model runs in Ollama's cloud."""
    remote_model: str | None = None


class _Turn(msgspec.Struct, frozen=True):
    role: str
    content: str = ""


def decode(data: bytes, kind: type[Record], what: str) -> Record:
    """Decode a JSON file as a record; raises `OllamaError`, whose text begins with `what`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise OllamaError(f"{what} cannot be read: {error}") from None


def decode_parameters(data: bytes, what: str) -> Parameters:
    """Read a `params` layer, skipping unknown and invalid values, as Ollama does."""
    values: list[tuple[str, Value]] = []
    for name, found in decode(data, dict[str, Any], what).items():
        for item in found if isinstance(found, list) else [found]:
            text = _parameter_text(name, item)
            try:
                if text is not None:
                    values.append((name, parse_value(name, text)))
            except ParameterError:
                continue
    return build_parameters(values)


def decode_messages(data: bytes, what: str) -> tuple[Message, ...]:
    """Read a `messages` layer, skipping turns whose role a Modelfile does not have."""
    messages = []
    for turn in decode(data, list[_Turn], what):
        match turn.role:
            case "system" | "user" | "assistant":
                messages.append(Message(turn.role, turn.content))
    return tuple(messages)


def _parameter_text(name: str, value: object) -> str | None:
    """Return the text of the equivalent PARAMETER line; None if no such line exists."""
    kind = KINDS.get(name)
    match value:
        case bool():
            return str(value).lower() if kind is bool else None
        case float() if kind is int:
            return str(int(value)) if value.is_integer() else None
        case int() | float() | str() if kind is not None:
            return str(value)
    return None
