"""Report on one answer: the JSON document of `--json`, the lines of `--verbose`."""

from __future__ import annotations

from typing import Any

from modelfiles.model import Model
from tui.commands.run.one_answer import Answer
from tui.text.sanitize import printable, printable_line
from tui.text.units import duration_text

_LABEL_WIDTH = 22


def answer_document(model: Model, answer: Answer, elapsed_s: float) -> dict[str, Any]:
    """Return the document of `tui run --json`; durations in seconds, counts in tokens.

    `stack` holds every adapter in order; one that is not `enabled` or has scale 0 has no effect.
    """
    finished, stats = answer.finished, answer.finished.stats
    return {
        "model": model.name,
        "response": printable(finished.text),
        "thinking": printable(finished.thinking),
        "finish_reason": finished.reason,
        "stack": [
            {
                "name": entry.adapter.name,
                "scale": entry.scale,
                "enabled": entry.is_enabled,
                "path": printable(entry.adapter.path),
            }
            for entry in answer.stack
        ],
        "stats": {
            "prompt_tokens": stats.n_prompt,
            "reused_tokens": stats.n_reused,
            "generated_tokens": stats.n_decoded,
            "thinking_tokens": stats.n_thought,
            "context_tokens": stats.n_context,
            "context_length": stats.n_ctx,
            "form": stats.form,
            "is_approximate": stats.is_approximate,
            "dropped_messages": stats.n_dropped_messages,
            "load_s": answer.info.load_s,
            "prefill_s": stats.prefill_s,
            "prefill_tokens_per_s": stats.prefill_tokens_per_s,
            "decode_s": stats.decode_s,
            "decode_tokens_per_s": stats.decode_tokens_per_s,
            "total_s": elapsed_s,
        },
        "notices": [printable_line(notice) for notice in answer.notices],
    }


def statistics_lines(answer: Answer, elapsed_s: float) -> list[str]:
    """Return the lines of `tui run --verbose`, in Ollama's order and wording."""
    stats = answer.finished.stats
    # A stack without adapters or with one can be applied in one way only.
    form = f" ({stats.form})" if stats.form in ("layered", "fused") else ""
    n_evaluated = stats.n_prompt - stats.n_reused
    rows = (
        ("stack", f"{answer.stack.label}{form}"),
        ("total duration", duration_text(elapsed_s)),
        ("load duration", duration_text(answer.info.load_s)),
        ("prompt eval count", f"{n_evaluated} token(s)"),
        ("prompt eval duration", duration_text(stats.prefill_s)),
        ("prompt eval rate", f"{stats.prefill_tokens_per_s:.2f} tokens/s"),
        ("eval count", f"{stats.n_decoded} token(s)"),
        ("eval duration", duration_text(stats.decode_s)),
        ("eval rate", f"{stats.decode_tokens_per_s:.2f} tokens/s"),
    )
    return [f"{label + ':':<{_LABEL_WIDTH}}{printable_line(value)}" for label, value in rows]
