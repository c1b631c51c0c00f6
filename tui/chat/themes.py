"""The two themes of the program, one for dark and one for light terminals."""

from __future__ import annotations

from collections.abc import Mapping

from textual.theme import Theme

DARK = Theme(
    name="lora-dark",
    primary="#7aa2c8",
    secondary="#b48ead",
    accent="#d8a657",
    warning="#e0a35c",
    error="#d9727a",
    success="#8fb573",
    foreground="#d7dae0",
    background="#16181d",
    surface="#1d2026",
    panel="#262a32",
    dark=True,
    variables={"border": "#3a404b", "input-selection-background": "#7aa2c8 35%"},
)

LIGHT = Theme(
    name="lora-light",
    primary="#2f628f",
    secondary="#7d4f86",
    accent="#8a5a00",
    warning="#a35a00",
    error="#b3323e",
    success="#3f7a35",
    foreground="#22252b",
    background="#fafaf8",
    surface="#f0f0ec",
    panel="#e6e6e0",
    dark=False,
    variables={"border": "#c4c6c0", "input-selection-background": "#2f628f 25%"},
)

_LIGHT_BACKGROUNDS = ("7", "15")


def theme_for(environ: Mapping[str, str]) -> Theme:
    """Return the light theme if COLORFGBG says that the terminal's background is light."""
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in _LIGHT_BACKGROUNDS else DARK


MUTED = "$foreground 60%"
"""Style of explanations beside what they explain."""
FAINT = "$foreground 30%"
"""Style of what is off or empty."""
