"""Render a conversation as the tokens of a prompt that fits the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from engine.errors import PromptError
from engine.llama.model import Model
from engine.protocol.chat_request import ChatRequest
from engine.protocol.values import ChatMessage
from modelfiles.errors import TemplateError
from modelfiles.template.check import REPLACED
from modelfiles.template.choose import ChatFormat, Origin, choose_format, raw_format
from modelfiles.template.thoughts import DEFAULT_TAGS, ThoughtTags


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation."""

    tokens: list[int]
    n_dropped: int
    """Number of oldest messages dropped to fit the context."""
    stops: tuple[str, ...] = ()
    """Stop strings that the chat format needs."""
    notices: tuple[str, ...] = ()
    tags: ThoughtTags = DEFAULT_TAGS
    """Tags that enclose the model's thinking."""
    opens_thought: bool = False
    """Whether the prompt ends in the opening tag, so that the answer begins inside a thought."""


def build_prompt(model: Model, request: ChatRequest, n_ctx: int) -> Prompt:
    """Render a conversation with its template, else the base's chat template, and tokenise it.

    If the messages do not fit, with room for the answer (`answer_reserve`), the oldest are dropped,
    but never the system message or the last message.

    Args:
        model: The base, for its template and vocabulary.
        request: The conversation, which ends in the message to answer.
        n_ctx: Context length in tokens.

    Raises:
        PromptError: The template cannot render the conversation, or the system message and the
            last message alone do not fit.
    """
    messages = request.messages
    system = [message for message in messages[:1] if message.role == "system"]
    turns = messages[len(system) :]
    if not turns:
        raise PromptError("There is no message to answer.")
    limit = n_ctx - answer_reserve(n_ctx, request.parameters.num_predict)
    chat_format = _format(model, request)

    def text_without(n_dropped: int) -> str:
        return _render(chat_format, [*system, *turns[n_dropped:]])

    def tokens_without(n_dropped: int) -> list[int]:
        return _tokenize(model, text_without(n_dropped))

    n_dropped = 0
    text = text_without(n_dropped)
    tokens = _tokenize(model, text)
    if not tokens:
        raise PromptError(_nothing(chat_format.origin, text))
    if len(tokens) > limit:
        starts = _possible_starts(turns)
        first = _first_that_fits(starts, tokens_without, limit)
        n_dropped = starts[_settled(first, len(starts))]
        text = text_without(n_dropped)
        tokens = _tokenize(model, text)
        if len(tokens) > limit:
            raise PromptError(
                f"The message has {len(tokens)} tokens with its system prompt, but a context of "
                f"{n_ctx} leaves room for {limit}: shorten it or set a larger num_ctx."
            )
    notices = []
    if n_dropped:
        plural = "message was" if n_dropped == 1 else "messages were"
        notices.append(
            f"The {n_dropped} oldest {plural} left out: the context of {n_ctx} tokens is full."
        )
    tags = chat_format.tags or DEFAULT_TAGS
    # Without a template that uses thinking tags, a tag at the end is part of the user's message.
    opens_thought = chat_format.tags is not None and text.rstrip().endswith(tags.opening)
    return Prompt(tokens, n_dropped, chat_format.stops, tuple(notices), tags, opens_thought)


def conversation_prefix(model: Model, request: ChatRequest, n_ctx: int) -> list[int]:
    """Return the tokens that the next prompt of a conversation will begin with; may be empty.

    Templates can render earlier turns differently (some drop the thinking), so the conversation is
    rendered twice, with two different next user messages: the common prefix does not depend on
    what the user will write. A conversation that ends in a user message is rendered as it is. The
    arguments are those of `build_prompt`, except that there may be no messages.

    Raises:
        PromptError: As `build_prompt`.
    """
    messages = request.messages
    if messages and messages[-1].role == "user":
        return build_prompt(model, request, n_ctx).tokens

    def tokens_before(coming: str) -> list[int]:
        longer = replace(request, messages=(*messages, ChatMessage("user", coming)))
        return build_prompt(model, longer, n_ctx).tokens

    one, other = tokens_before("a"), tokens_before("0")
    return one[: common_prefix(one, other)]


def answer_reserve(n_ctx: int, n_predict: int | None) -> int:
    """Return the tokens of the context to keep free for the answer: at most a quarter."""
    quarter = max(1, n_ctx // 4)
    return quarter if n_predict is None or n_predict < 0 else max(1, min(n_predict, quarter))


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    n = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        n += 1
    return n


def _possible_starts(turns: Sequence[ChatMessage]) -> list[int]:
    """Return the indices a shortened conversation may start at: user messages and the last one."""
    last = len(turns) - 1
    return [i for i in range(1, last) if turns[i].role == "user"] + ([last] if last > 0 else [0])


def _first_that_fits(
    starts: Sequence[int], tokens_without: Callable[[int], list[int]], limit: int
) -> int:
    """Return the index of the earliest start whose prompt fits, by bisection; else of the last."""
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if len(tokens_without(starts[middle])) <= limit:
            high = middle
        else:
            low = middle + 1
    return low


def _settled(first: int, n_starts: int) -> int:
    """Return an index at or after `first` that stays the same while the conversation grows.

    If the start moved with every turn, the KV cache would share no prefix with the prompt, and
    every turn would evaluate the whole context. So up to a quarter of the starts that fit is
    skipped: the result is a multiple of a power of two (or the last index).
    """
    n_fitting = n_starts - first
    block = 1 << max(0, (n_fitting // 4).bit_length() - 1)
    return min(-(-first // block) * block, n_starts - 1)


def _format(model: Model, request: ChatRequest) -> ChatFormat:
    if request.is_raw:
        return raw_format()
    return choose_format(
        request.template,
        model.chat_template,
        bos_token=model.bos_text,
        eos_token=model.eos_text,
        thinks=request.thinks,
    )


def _render(chat_format: ChatFormat, messages: Sequence[ChatMessage]) -> str:
    try:
        return chat_format.render([{"role": m.role, "content": m.content} for m in messages])
    except TemplateError as error:
        replaced = f" {REPLACED}" if chat_format.origin is Origin.BASE else ""
        raise PromptError(f"{chat_format.origin}, {str(error).rstrip('.')}.{replaced}") from error


def _tokenize(model: Model, text: str) -> list[int]:
    # Many templates write the BOS token themselves; the tokenizer would add a second one.
    if model.adds_bos and model.bos_text and text.startswith(model.bos_text):
        text = text.removeprefix(model.bos_text)
    return model.tokenize(text)


def _nothing(origin: Origin, text: str) -> str:
    if text.strip():
        return "The base's vocabulary has no tokens for the prompt: use another base."
    return f"{origin}, the chat template wrote no prompt: give another TEMPLATE in the Modelfile."
