"""A conversation becomes a prompt that fits, with one BOS token and nothing important left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.errors import PromptError
from engine.gguf.metadata import ValueType
from engine.llama.model import Model
from engine.protocol.chat_request import ChatRequest
from engine.protocol.values import ChatMessage
from engine.runtime.prompt import build_prompt
from modelfiles.parameters import Parameters
from modelfiles.template.choose import PLAIN_STOPS
from tests.engine.conftest import Tiny
from tests.support.gguf_raw import RawGguf, RawValue, text
from tests.support.tiny_models import END_OF_TEXT, vocabulary, write_base


@pytest.fixture
def model(tiny: Tiny) -> Iterator[Model]:
    with Model(tiny.base) as model:
        yield model


def conversation(
    n_turns: int,
    system: str | None = "Be brief.",
    template: str | None = None,
    n_answer: int | None = 64,
) -> ChatRequest:
    """Return what is asked after `n_turns`, with `n_answer` tokens at most to be kept free."""
    messages = [ChatMessage("system", system)] if system else []
    for n in range(n_turns):
        messages += [ChatMessage("user", f"Question {n}?"), ChatMessage("assistant", f"Reply {n}.")]
    messages.append(ChatMessage("user", "The last question?"))
    return ChatRequest(tuple(messages), Parameters(num_predict=n_answer), template)


def asked(text: str, template: str | None = None, thinks: bool | None = None) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), template=template, thinks=thinks)


def text_of(model: Model, tokens: list[int]) -> str:
    return b"".join(model.piece(token) for token in tokens).decode()


def test_the_bases_own_chat_template_is_used(model: Model) -> None:
    prompt = build_prompt(model, conversation(1), n_ctx=512)
    assert prompt.tokens == model.tokenize(
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nQuestion 0?<|im_end|>\n<|im_start|>assistant\nReply 0.<|im_end|>\n"
        "<|im_start|>user\nThe last question?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt.n_dropped == 0
    assert prompt.notices == ()


@pytest.mark.parametrize("template_writes_bos", [False, True])
@pytest.mark.parametrize("add_bos", [False, True])
def test_there_is_never_a_second_bos_token(
    tmp_path: Path, template_writes_bos: bool, add_bos: bool
) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    if template_writes_bos:
        template = "{{ bos_token }}" + template
    path = write_base(tmp_path / "base.gguf", add_bos=add_bos, chat_template=template)
    with Model(path) as model:
        tokens = build_prompt(model, asked("Hi"), n_ctx=512).tokens
        bos = model.tokenize(END_OF_TEXT, add_special=False)
        assert tokens.count(bos[0]) == int(add_bos or template_writes_bos)


def test_an_overlong_conversation_loses_its_oldest_turns(model: Model) -> None:
    request = conversation(20, n_answer=None)
    whole = build_prompt(model, request, n_ctx=4096)
    prompt = build_prompt(model, request, n_ctx=400)
    assert len(prompt.tokens) <= 300 < len(whole.tokens)
    kept = text_of(model, prompt.tokens)
    assert kept.startswith("system\nBe brief.")
    assert "The last question?" in kept
    assert "Question 19?" in kept
    assert "Question 0?" not in kept
    assert prompt.n_dropped % 2 == 0, "a conversation begins with a question"
    assert str(prompt.n_dropped) in prompt.notices[0]
    messages = request.messages
    a_third_more = replace(request, messages=(messages[0], *messages[1 + prompt.n_dropped - 6 :]))
    assert len(build_prompt(model, a_third_more, n_ctx=4096).tokens) > 300


def test_a_full_context_begins_at_one_place_for_several_turns(model: Model) -> None:
    """So that the KV cache serves a long chat: another beginning evaluates everything again."""
    grown = [build_prompt(model, conversation(n, n_answer=100), n_ctx=800) for n in range(30, 60)]
    starts = [prompt.n_dropped for prompt in grown]
    assert starts == sorted(starts)
    assert starts[0] > 0
    assert len(set(starts)) <= len(starts) / 3
    assert all(len(prompt.tokens) <= 700 for prompt in grown)
    assert min(len(prompt.tokens) for prompt in grown) > 700 * 0.6


def test_the_system_message_and_the_last_message_are_never_left_out(model: Model) -> None:
    request = conversation(20, system="A rule. " * 10, n_answer=None)
    prompt = build_prompt(model, request, n_ctx=200)
    kept = text_of(model, prompt.tokens)
    assert kept.count("A rule.") == 10
    assert "The last question?" in kept
    with pytest.raises(PromptError, match=r"leaves room for 50.*larger num_ctx"):
        build_prompt(model, request, n_ctx=66)


def test_a_base_without_a_template_gets_a_plain_transcript(tmp_path: Path) -> None:
    with Model(write_base(tmp_path / "base.gguf", chat_template=None)) as model:
        prompt = build_prompt(model, conversation(1), n_ctx=512)
        assert text_of(model, prompt.tokens) == (
            "System: Be brief.\nUser: Question 0?\nAssistant: Reply 0.\n"
            "User: The last question?\nAssistant:"
        )
        assert prompt.stops == PLAIN_STOPS
        assert PLAIN_STOPS[:2] == ("\nUser:", "\nAssistant:")


def test_a_template_that_fails_is_one_sentence(tmp_path: Path) -> None:
    template = "{{ raise_exception('Only even numbers of messages.') }}"
    with (
        Model(write_base(tmp_path / "base.gguf", chat_template=template)) as model,
        pytest.raises(PromptError, match="Only even numbers of messages"),
    ):
        build_prompt(model, conversation(1), n_ctx=512)


def test_a_template_without_a_system_role_gets_the_system_text_in_the_first_message(
    tmp_path: Path,
) -> None:
    template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role.') }}"
        "{% endif %}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    )
    with Model(write_base(tmp_path / "base.gguf", chat_template=template)) as model:
        prompt = build_prompt(model, conversation(0), n_ctx=512)
        assert text_of(model, prompt.tokens) == "[user] Be brief.\n\nThe last question?\n"


def test_nothing_to_answer_is_an_error(model: Model) -> None:
    with pytest.raises(PromptError, match="no message"):
        build_prompt(model, ChatRequest((ChatMessage("system", "Be brief."),)), n_ctx=512)


GO_TEMPLATE = "{{ range .Messages }}[{{ .Role }}] {{ .Content }}\n{{ end }}[assistant]"


@pytest.mark.parametrize("chat_template", [None, "{{ 'unused' }}"])
def test_the_template_of_a_modelfile_wins_over_the_bases_own(
    tmp_path: Path, chat_template: str | None
) -> None:
    with Model(write_base(tmp_path / "base.gguf", chat_template=chat_template)) as model:
        prompt = build_prompt(model, conversation(1, template=GO_TEMPLATE), n_ctx=512)
        assert text_of(model, prompt.tokens) == (
            "[system] Be brief.\n[user] Question 0?\n[assistant] Reply 0.\n"
            "[user] The last question?\n[assistant]"
        )
        assert (prompt.stops, prompt.notices) == ((), ())


@pytest.mark.parametrize("written", ["", END_OF_TEXT])
@pytest.mark.parametrize("add_bos", [False, True])
def test_a_template_of_a_modelfile_makes_no_second_bos_token_either(
    tmp_path: Path, written: str, add_bos: bool
) -> None:
    with Model(write_base(tmp_path / "base.gguf", add_bos=add_bos)) as model:
        template = f"{written}{GO_TEMPLATE}"
        prompt = build_prompt(model, asked("Hi", template), n_ctx=512)
        bos = model.tokenize(END_OF_TEXT, add_special=False)
        assert prompt.tokens.count(bos[0]) == int(add_bos or bool(written))


def test_an_empty_template_of_a_modelfile_counts_as_none(model: Model) -> None:
    plain = build_prompt(model, conversation(1), n_ctx=512)
    assert build_prompt(model, conversation(1, template=""), n_ctx=512) == plain


def test_an_overlong_conversation_loses_its_oldest_turns_under_a_template_too(model: Model) -> None:
    prompt = build_prompt(model, conversation(20, template=GO_TEMPLATE, n_answer=100), n_ctx=400)
    kept = text_of(model, prompt.tokens)
    assert kept.startswith("[system] Be brief.\n[user] ")
    assert kept.endswith("The last question?\n[assistant]")
    assert 0 < prompt.n_dropped < 40


def test_a_template_of_a_modelfile_that_fails_is_one_sentence_with_its_place(model: Model) -> None:
    with pytest.raises(PromptError) as raised:
        build_prompt(model, conversation(0, template="{{ .Prompt"), n_ctx=512)
    assert str(raised.value) == (
        "In the TEMPLATE of the Modelfile, line 1, column 1: unclosed action."
    )


@pytest.mark.parametrize(("thinks", "flag"), [(None, "unset"), (True, "True"), (False, "False")])
def test_a_template_is_told_whether_to_think(
    tmp_path: Path, thinks: bool | None, flag: str
) -> None:
    jinja = (
        "{{ messages[0].content }} {{ enable_thinking if enable_thinking is defined else 'unset' }}"
    )
    with Model(write_base(tmp_path / "base.gguf", chat_template=jinja)) as model:
        prompt = build_prompt(model, asked("Hi", thinks=thinks), n_ctx=512)
        assert text_of(model, prompt.tokens) == f"Hi {flag}"
        go = "{{ range .Messages }}{{ .Content }}{{ end }} {{ .IsThinkSet }} {{ .Think }}"
        prompt = build_prompt(model, asked("Hi", go, thinks), n_ctx=512)
        assert (
            text_of(model, prompt.tokens)
            == {None: "Hi false false", True: "Hi true true", False: "Hi true false"}[thinks]
        )


@pytest.mark.parametrize(
    ("template", "closing", "opens"),
    [
        ("{{ .Prompt }}<think>\n", "</think>", True),
        ("{{ .Prompt }}[THINK]", "[/THINK]", True),
        ("{{ .Prompt }}<think></think>", "</think>", False),
        ("{{ .Prompt }}", "</think>", False),
    ],
)
def test_the_tags_of_thoughts_come_from_the_template(
    model: Model, template: str, closing: str, opens: bool
) -> None:
    prompt = build_prompt(model, asked("What is <think>", template), n_ctx=512)
    assert (prompt.tags.closing, prompt.opens_thought) == (closing, opens)


@pytest.mark.parametrize(
    ("template", "chat_template"),
    [
        ("{{ if .Tools }}x{{ end }}", None),
        ("{{ if .System }}{{ .System }}{{ end }}", None),
        (None, "{% if tools %}x{% endif %}"),
        (None, "You are kind."),
    ],
)
def test_a_template_without_the_question_is_a_sentence(
    tmp_path: Path, template: str | None, chat_template: str | None
) -> None:
    with (
        Model(write_base(tmp_path / "base.gguf", chat_template=chat_template)) as model,
        pytest.raises(PromptError, match="leaves the question out of the prompt"),
    ):
        build_prompt(model, asked("Why?", template), n_ctx=512)


def test_a_prompt_without_a_token_does_not_reach_llama_cpp(model: Model) -> None:
    with pytest.raises(PromptError, match=r"wrote no prompt: give another TEMPLATE"):
        build_prompt(model, asked("", "{{ .Prompt }}"), n_ctx=512)


def test_a_raw_text_is_completed_as_it_is(model: Model) -> None:
    request = replace(asked("Once upon"), is_raw=True)
    prompt = build_prompt(model, request, n_ctx=512)
    assert prompt.tokens == model.tokenize("Once upon")
    assert (prompt.stops, prompt.notices) == ((), ())


def test_a_base_without_a_vocabulary_is_a_sentence(tmp_path: Path) -> None:
    raw = RawGguf.read(write_base(tmp_path / "base.gguf", chat_template=None))
    for key in [key for key in raw.metadata if key.startswith("tokenizer.")]:
        del raw.metadata[key]
    raw.metadata["tokenizer.ggml.model"] = text("none")
    raw.metadata["llama.vocab_size"] = RawValue(ValueType.UINT32, len(vocabulary()))
    path = raw.write(tmp_path / "mute.gguf")
    with Model(path) as model, pytest.raises(PromptError, match="has no vocabulary"):
        build_prompt(model, asked("Hi"), n_ctx=64)
