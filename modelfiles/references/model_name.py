"""Parse and display model names, `[host/][namespace/]model[:tag]`, as Ollama does."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from modelfiles.errors import ModelNameError
from modelfiles.wording import quoted

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# A part begins with a letter, a digit or "_", so it is never "..". `\Z`, since `$` would accept a
# trailing newline.
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}\Z")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}\Z")
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\Z")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A complete model name; build one with `parse`."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse a name, filling in the default host, namespace and tag.

        Raises `ModelNameError` for a text that is not a name, such as a path or one with `..`.
        """
        rest = text.split("://", 1)[1] if "://" in text else text
        tag = DEFAULT_TAG
        colon = rest.rfind(":")
        if colon > rest.rfind("/"):
            rest, tag = rest[:colon], rest[colon + 1 :]
        parts = rest.split("/")
        if len(parts) > 3:
            raise _invalid(text, "at most host/namespace/model:tag")
        model = parts[-1]
        namespace = parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE
        host = parts[-3] if len(parts) > 2 else DEFAULT_HOST
        for part, pattern, kind in (
            (host, _HOST, "host"),
            (namespace, _NAMESPACE, "namespace"),
            (model, _MODEL, "model"),
            (tag, _MODEL, "tag"),
        ):
            if not pattern.match(part) or ".." in part:
                raise _invalid(text, f"{quoted(part)} cannot be a {kind}")
        return cls(host, namespace, model, tag)

    @property
    def display(self) -> str:
        """The shortest text that parses to this name, always with its tag: `demo:latest`."""
        shown = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{shown}"
        if self.namespace != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{shown}"
        return shown

    @property
    def full(self) -> str:
        """The name with all its parts: `registry.ollama.ai/library/demo:latest`."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def path_parts(self) -> tuple[str, str, str, str]:
        """The path components of the name's manifest below the folder `manifests`."""
        return self.host, self.namespace, self.model, self.tag

    @property
    def folded(self) -> tuple[str, str, str, str]:
        """The case-folded parts, which lookups compare."""
        host, namespace, model, tag = (part.casefold() for part in self.path_parts)
        return host, namespace, model, tag


def _invalid(text: str, reason: str) -> ModelNameError:
    return ModelNameError(
        f"invalid model name: {quoted(text)} ({reason}; use letters, digits, -, _ and .,"
        " for example my-model:latest)"
    )


def free_name(name: str, taken: Container[str]) -> str:
    """Return an adapter's name, numbered if it is taken: `style`, `style-2`, `style-3`."""
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
