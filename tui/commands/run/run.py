"""`tui run`: chat with a model, or print one answer."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from typing import TextIO

from engine.errors import GenerationError
from engine.protocol.chat_request import ChatRequest
from engine.protocol.settings import EngineSettings
from modelfiles.model import Model
from modelfiles.state.home import state_home
from tui.commands.lora_options import add_lora_options, stack_of_model, with_loras
from tui.commands.model_option import MODEL_HELP, named_model
from tui.commands.run.answer_report import answer_document, statistics_lines
from tui.commands.run.answer_stream import AnswerStream
from tui.commands.run.one_answer import Answer, answer, ignore, raw_request_of, request_of
from tui.errors import UsageError
from tui.local_engine import new_engine
from tui.settings import read_settings
from tui.terminal.arguments import Parser
from tui.terminal.early_keys import keys_kept
from tui.terminal.exit_code import ExitCode
from tui.terminal.output import note, write_json
from tui.terminal.progress import Progress

_DESCRIPTION = """\
Chat with a model on screen, or print one answer when a PROMPT is given, when something is
piped in, or when the output is not a terminal.

Piped text is read to its end and goes before the PROMPT, with a blank line between them. The
answer goes to stdout as it is written, everything else to stderr; Ctrl+C stops it and keeps what
is there."""

_EXAMPLES = """\
  tui run demo
  tui run demo "What does the scale do?"
  tui run ./base.gguf "Hello"
  tui run demo --lora pirate --lora-scale 0.7 "Who are you?"
  tui run demo --lora ./style.gguf --lora pirate --lora-scale 0.3
  tui run demo --lora ./my-peft-folder "Who are you?"
  tui run ./base.gguf --raw "Once upon a time"
  cat notes.txt | tui run demo "Summarise:" --json"""


def configure(parser: Parser) -> None:
    """Describe `run` and add its arguments."""
    parser.describe(_DESCRIPTION, _EXAMPLES, takes_intermixed=True)
    parser.add_argument("name", metavar="NAME|GGUF", help=MODEL_HELP)
    parser.add_argument("prompt", metavar="PROMPT", nargs="*", default=[], help="what to answer")
    add_lora_options(parser)
    parser.add_json_option(
        "print one JSON document: model, response, thinking, finish_reason, stack, stats, notices"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        dest="is_raw",
        help="complete the PROMPT as it is, without a template, system message or history",
    )
    parser.add_argument(
        "--think",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="ask a reasoning model to think before it answers, or not to (default: as it does)",
    )
    parser.add_argument(
        "--hide-thinking",
        "--hidethinking",  # as Ollama spells it
        action="store_true",
        dest="hides_thinking",
        help="print only the answer, not what the model thinks before it",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        dest="is_verbose",
        help="after the answer, print its statistics on stderr",
    )


def run(args: argparse.Namespace) -> int:
    """Open the chat, or print one answer; return 130 if Ctrl+C cut the answer short."""
    if (
        not args.prompt
        and not (args.is_json or args.is_raw)
        and _is_terminal(sys.stdin, sys.stdout)
    ):
        with keys_kept(sys.stdin):
            return _chat(args)
    # Read before anything else: a script must not go on under other settings than those written.
    settings = _settings()
    return _print_answer(_model(args), _prompt(args.prompt), settings, args)


def _chat(args: argparse.Namespace) -> int:
    told: list[str] = []  # shown in the chat: its screen would cover stderr
    model = _model(args, told.append)
    if args.loras:
        stack_of_model(model)  # report a wrong file here, before a screen covers the error
    from tui.chat.app import run_chat

    return run_chat(model, told)


def _model(args: argparse.Namespace, tell: Callable[[str], object] = note) -> Model:
    return with_loras(named_model(args.name), args.loras, tell=tell)


def _settings() -> EngineSettings:
    home = state_home()
    return read_settings(home).for_engine(home / "cache")


def _print_answer(
    model: Model, prompt: str, settings: EngineSettings, args: argparse.Namespace
) -> int:
    started = time.monotonic()
    answer = _ask(model, prompt, settings, args)
    elapsed_s = time.monotonic() - started
    for notice in answer.notices:
        note(notice)
    if answer.finished.reason == "failed":
        raise GenerationError(answer.finished.error)
    if args.is_json:
        write_json(answer_document(model, answer, elapsed_s))
    if args.is_verbose:
        sys.stdout.flush()
        print("\n".join(statistics_lines(answer, elapsed_s)), file=sys.stderr)
    return ExitCode.INTERRUPTED if answer.finished.reason == "cancelled" else ExitCode.DONE


def _ask(model: Model, prompt: str, settings: EngineSettings, args: argparse.Namespace) -> Answer:
    """Ask in a new worker; on return, a streamed answer is on stdout with its newline."""
    stack = stack_of_model(model)
    stream = AnswerStream(not args.is_json)
    with Progress() as progress:

        def show(text: str) -> None:
            progress.close()  # the bar must be gone before the first word is written
            stream.write(text)

        def show_thought(thinking: str) -> None:
            progress.close()
            stream.think(thinking)

        try:
            return asyncio.run(
                answer(
                    new_engine(),
                    model,
                    stack,
                    _request(model, prompt, args),
                    on_text=show,
                    on_progress=progress.show,
                    on_thought=ignore if args.hides_thinking else show_thought,
                    settings=settings,
                )
            )
        finally:
            stream.end()


def _request(model: Model, prompt: str, args: argparse.Namespace) -> ChatRequest:
    return raw_request_of(model, prompt) if args.is_raw else request_of(model, prompt, args.think)


def _prompt(words: list[str]) -> str:
    """Return the prompt: the piped text, a blank line, the words of the command line."""
    piped = "" if sys.stdin is None or sys.stdin.isatty() else _read(sys.stdin)
    # Bytes of the command line that are not UTF-8 arrive as lone surrogates.
    spoken = " ".join(words).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    parts = [part for part in (piped.rstrip(), spoken) if part.strip()]
    if not parts:
        raise UsageError(
            "There is nothing to answer: give a PROMPT, or pipe text in (see 'tui run --help')."
        )
    return "\n\n".join(parts)


def _read(stream: TextIO) -> str:
    """Read all of a stream as UTF-8 whatever the locale, with U+FFFD for invalid bytes."""
    return stream.buffer.read().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")


def _is_terminal(*streams: TextIO | None) -> bool:
    return all(stream is not None and stream.isatty() for stream in streams)
