"""Read, check and show `settings.toml`, the user's settings for every chat.

The program never writes the file: changes made in the chat last until it ends, and the user's own
comments and order stay as they are.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from engine.protocol.settings import EngineSettings, FuseMode, SwapMode
from modelfiles.wording import hint, printable, quoted
from tui.errors import UsageError

FILE_NAME = "settings.toml"
_MIB = 2**20
_MIB_MAX = 2**30
"""A petabyte: a larger number is a typing error."""
_Mib = Annotated[int, Meta(ge=0, le=_MIB_MAX)]
_LINE = 37
"""Cells of a line of comments in the text that `/show settings` prints: the room that the chat has
beside the rack on a terminal of 80 columns."""


class SettingsError(UsageError):
    """The settings file cannot be used as written."""


class Settings(msgspec.Struct, frozen=True):
    """Every setting with its default; manual and chat use these descriptions."""

    fuse: Annotated[
        FuseMode,
        Meta(
            description="several adapters as one: `auto` takes whichever form was measured to "
            "decode faster, the others force one; a fused adapter needs memory of its own"
        ),
    ] = "auto"
    swap: Annotated[
        SwapMode,
        Meta(
            description="after a change of the mix `evaluate` reads the conversation anew "
            "(exact), `keep` goes on from what the mix before has read (at once, approximate)"
        ),
    ] = "evaluate"
    live: Annotated[
        bool,
        Meta(
            description="whether a change of the mix during an answer applies from its next token "
            "(approximate) instead of from the next answer"
        ),
    ] = False
    prepare: Annotated[
        bool,
        Meta(
            description="whether the conversation is read in the background after a change, so "
            "that the next answer begins at once; costs processor time while you type"
        ),
    ] = True
    kv_memory_mib: Annotated[
        _Mib | None,
        Meta(
            description="most memory for what stacks and chats left behind have read, so that "
            "going back to them evaluates nothing; 0 keeps none",
        ),
    ] = None
    kv_disk_mib: Annotated[
        _Mib,
        Meta(
            description="most disk space for the same, to be there after a restart; 0 writes none",
        ),
    ] = 0
    fused_disk_mib: Annotated[
        _Mib,
        Meta(
            description="most disk space for fused adapters, so that they are made once; 0 keeps "
            "none",
        ),
    ] = 2048

    def for_engine(self, cache_folder: Path | None) -> EngineSettings:
        """Return the engine's settings; `cache_folder` is absolute, None for no cache on disk."""
        memory = self.kv_memory_mib
        return EngineSettings(
            fuse=self.fuse,
            swap=self.swap,
            is_live=self.live,
            prepares=self.prepare,
            kv_memory_bytes=None if memory is None else memory * _MIB,
            kv_disk_bytes=self.kv_disk_mib * _MIB,
            fused_disk_bytes=self.fused_disk_mib * _MIB,
            cache_folder=None if cache_folder is None else str(cache_folder),
        )


def toggled_live(settings: Settings) -> Settings:
    """Return the settings with `live` switched."""
    return msgspec.structs.replace(settings, live=not settings.live)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is described and checked."""

    key: str
    kind: Any
    """Its type, with the limits of a number."""
    choices: Mapping[str, object]
    """Words accepted after `/set KEY`, with the value each means; empty for a number."""
    values: str
    """Values allowed in the file, in words."""
    default: str
    """The default value, in words."""
    description: str
    """What it does and what it costs."""


def _setting(key: str, annotated: Any, default: object) -> Setting:
    kind, *_, meta = get_args(annotated)
    choices: dict[str, object] = {}
    values = f"a whole number of MiB from 0 to {_MIB_MAX}"
    if get_origin(kind) is Literal:
        choices = {value: value for value in get_args(kind)}
        values = _one_of(tuple(f'"{value}"' for value in choices))
    elif kind is bool:
        choices = {"on": True, "off": False}
        values = "true or false"
    shown = "a quarter of the free memory" if default is None else toml_value(default)
    return Setting(key, annotated, choices, values, shown, meta.description)


def toml_value(value: object) -> str:
    """Return a setting's value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _one_of(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


SETTINGS: tuple[Setting, ...] = tuple(
    _setting(key, annotated, getattr(Settings(), key))
    for key, annotated in get_type_hints(Settings, include_extras=True).items()
)
"""Every setting, once: the check of the file, `/set`, `/show settings` and the manual use it."""


def setting_of(key: str) -> Setting:
    """Return the row of a key."""
    return next(setting for setting in SETTINGS if setting.key == key)


def read_settings(home: Path) -> Settings:
    """Return the settings of `settings.toml` in `home`, or all defaults if there is no such file.

    Raises:
        SettingsError: The file cannot be read, is not TOML, or has a wrong key or value.
    """
    path = home / FILE_NAME
    try:
        # Editors on Windows put a byte order mark first, which tomllib rejects.
        document = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SettingsError(f"{printable(path)} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{printable(path)} is not text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{printable(path)} is not valid TOML: {printable(error)}.") from None
    values = {key: _checked(path, key, value) for key, value in document.items()}
    return msgspec.structs.replace(Settings(), **values)


def _checked(path: Path, key: str, value: object) -> object:
    keys = [setting.key for setting in SETTINGS]
    if key not in keys:
        raise SettingsError(
            f"{printable(path)}: there is no setting {quoted(key)}{hint(key, keys)}; "
            f"there are {', '.join(keys)}."
        )
    setting = setting_of(key)
    try:
        return msgspec.convert(value, setting.kind, strict=True)
    except msgspec.ValidationError:
        text = quoted(value) if isinstance(value, str) else printable(toml_value(value))[:60]
        raise SettingsError(
            f"{printable(path)}: {key} is {text}, but has to be {setting.values}."
        ) from None


def settings_text(settings: Settings, folder: Path | None) -> str:
    """Return the current settings as the text of an equivalent `settings.toml`.

    `folder` is the folder of the file, or None if there is none.
    """
    place = FILE_NAME if folder is None else str(folder / FILE_NAME)
    lines = [
        f"# {printable(place)}",
        *_comment("What is changed in the chat lasts until you quit; this file keeps it."),
    ]
    for setting in SETTINGS:
        value = getattr(settings, setting.key)
        lines += ["", *_comment(setting.description.replace("`", ""))]
        if value is None:
            lines += _comment(f"{setting.key} is not set: {setting.default}")
        else:
            lines.append(f"{setting.key} = {toml_value(value)}")
    return "\n".join(lines)


def _comment(words: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(words, _LINE - 2)]
