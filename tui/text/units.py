"""Format sizes, counts, durations, ages in Ollama's wording, and addresses of the Hub."""

from __future__ import annotations

from datetime import datetime

_BYTE_UNITS = ("KB", "MB", "GB", "TB")
_MINUTE_S, _HOUR_S = 60, 3600
_DAY_H, _WEEK_H, _MONTH_H, _YEAR_H = 24, 24 * 7, 24 * 30, 24 * 365


def size_text(size_bytes: int) -> str:
    """Return a size in decimal units, `512 B`, `2.0 GB`; without decimals from 10 units up."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = size_bytes / 1000
    unit = 0
    while value >= 1000 and unit < len(_BYTE_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return (
        f"{int(value)} {_BYTE_UNITS[unit]}" if value >= 10 else f"{value:.1f} {_BYTE_UNITS[unit]}"
    )


def count_text(count: int) -> str:
    """Return a count with its unit, `870`, `2.8M`, `7B`."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.1f}".removesuffix(".0") + unit
    return str(count)


def duration_text(duration_s: float) -> str:
    """Return a duration in a suitable unit, `35.20ms`, `1.25s`, `2m5.0s`."""
    if duration_s < 1:
        return f"{duration_s * 1000:.2f}ms"
    if duration_s < _MINUTE_S:
        return f"{duration_s:.2f}s"
    minutes, seconds = divmod(duration_s, _MINUTE_S)
    return f"{int(minutes)}m{seconds:.1f}s"


def age_text(then: datetime, now: datetime) -> str:
    """Return how long ago `then` was, `3 weeks ago`, or `… from now`; both times are aware."""
    age_s = (now - then).total_seconds()
    return f"{_span_text(-age_s)} from now" if age_s < 0 else f"{_span_text(age_s)} ago"


def short_age_text(then: datetime, now: datetime) -> str:
    """Return an age for a column, `new` (under an hour), `5h`, `3d`, `6w`, `11mo`, `2y`."""
    hours = int((now - then).total_seconds() // _HOUR_S)
    units = (("y", _YEAR_H), ("mo", 2 * _MONTH_H), ("w", 2 * _WEEK_H), ("d", _DAY_H), ("h", 1))
    sizes = {"mo": _MONTH_H, "w": _WEEK_H}
    for unit, least_hours in units:
        if hours >= least_hours:
            return f"{hours // sizes.get(unit, least_hours)}{unit}"
    return "new"


def _span_text(span_s: float) -> str:
    seconds, hours = int(span_s), round(span_s / _HOUR_S)
    if seconds < 1:
        return "Less than a second"
    if seconds < _MINUTE_S:
        return _plural(seconds, "second")
    if seconds < 2 * _MINUTE_S:
        return "About a minute"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 2 * _DAY_H:
        return f"{hours} hours"
    if hours < 2 * _WEEK_H:
        return f"{hours // _DAY_H} days"
    if hours < 2 * _MONTH_H:
        return f"{hours // _WEEK_H} weeks"
    if hours < 2 * _YEAR_H:
        return f"{hours // _MONTH_H} months"
    return f"{hours // _YEAR_H} years"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
