"""Resolve the output paths of commands, so that no file is overwritten by accident."""

from __future__ import annotations

from pathlib import Path

from tui.errors import TuiError, UsageError


def output_path(text: str, *, is_forced: bool) -> Path:
    """Return the absolute path of an output whose folder exists; a link is resolved to its target.

    Raises `TuiError` if the path exists and `is_forced` is not set, or if it is neither a file nor
    a folder; `UsageError` if its folder is missing or the text cannot be a path.
    """
    if text == "-":
        raise UsageError(
            "'-' would be a file of that name, not standard output: name the file to write with -o."
        )
    try:
        out = Path(text).expanduser().absolute()
        if out.is_symlink():
            out = out.resolve()
        is_there, has_folder = out.exists(), out.parent.is_dir()
        # A device would be replaced like a file: `-o /dev/null --force` must not.
        is_special = is_there and not (out.is_file() or out.is_dir())
    except (OSError, RuntimeError, ValueError):  # too long, no such home folder, a zero byte
        raise UsageError(f"{text!r} cannot be a path: name the file to write with -o.") from None
    if not has_folder:
        raise UsageError(f"There is no folder {out.parent}: make it, or name another with -o.")
    if is_special:
        raise TuiError(f"{out} is neither a file nor a folder: name another with -o.")
    if is_there and not is_forced:
        raise TuiError(f"{out} is there already: name another with -o, or add --force.")
    return out
