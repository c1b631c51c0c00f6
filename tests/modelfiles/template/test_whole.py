"""Whatever a template does, the text of every message stands in the prompt, or it is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.errors import TemplateError
from modelfiles.template.check import (
    check_chat_template,
    check_template,
    template_problem,
    unknown_fields,
)
from modelfiles.template.choose import choose_format
from modelfiles.template.whole import lost_messages

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "How do I quit?"}
ASSISTANT = {"role": "assistant", "content": "Press ctrl+q."}
AGAIN = {"role": "user", "content": "And then?"}

# Walks over the parts of a message, as the templates of SmolVLM, Idefics and others do.
TYPED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Takes the first part without looking whether it is one, as Llama 3.2 Vision's derivatives do.
FIRST_PART = "{% for m in messages %}[{{ m.role }}]{{ m.content[0]['text'] | trim }}{% endfor %}"
STRINGS_FOR_ANSWERS = (
    "{% for m in messages %}{{ m.role }}: {% if m.role == 'assistant' %}{{ m.content }}"
    "{% else %}{{ m.content[0].text }}{% endif %}\n{% endfor %}"
)
IGNORES_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
DROPS_THOUGHTS = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"
    "{{ m.content.split('</think>')[-1].strip() }}{% else %}{{ m.content | trim }}{% endif %}"
    "{% endfor %}"
)
AS_JSON = "{% for m in messages %}{{ m | tojson }}\n{% endfor %}"
NO_TOKENS = "{{ messages[0].content.replace('<|im_end|>', '') }}"
ONE_LINE = "{{ messages[0].content.split() | join(' ') }}"
NO_ANSWERS = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
LAST_ONLY = "### {{ messages[-1].content }}\n"


def prompt(chat_template: str, *messages: dict[str, str]) -> str:
    return choose_format(None, chat_template, bos_token="", eos_token="").render(messages)


def go_prompt(template: str, *messages: dict[str, str]) -> str:
    return choose_format(template, None, bos_token="", eos_token="").render(messages)


@pytest.mark.parametrize("template", [TYPED, FIRST_PART])
def test_a_template_of_parts_gets_parts(template: str) -> None:
    shown = prompt(template, SYSTEM, USER, ASSISTANT, AGAIN)
    for message in (SYSTEM, USER, ASSISTANT, AGAIN):
        assert message["content"] in shown
    assert "'type'" not in shown


def test_a_template_of_parts_writes_what_the_same_template_of_texts_writes() -> None:
    texts = TYPED.replace("{% for part in m.content %}{% if part.type == 'text' %}", "")
    texts = texts.replace("{{ part.text }}{% endif %}{% endfor %}", "{{ m.content }}")
    assert prompt(TYPED, SYSTEM, USER) == prompt(texts, SYSTEM, USER)


def test_a_question_of_one_letter_does_not_pass_by_chance() -> None:
    assert "\na<|im_end|>" in prompt(TYPED, {"role": "user", "content": "a"})


def test_a_system_message_that_the_template_ignores_moves_into_the_question() -> None:
    assert prompt(IGNORES_SYSTEM, SYSTEM, USER) == "[INST] Be brief.\n\nHow do I quit? [/INST]"
    assert prompt(IGNORES_SYSTEM, USER) == "[INST] How do I quit? [/INST]"
    shown = go_prompt("{{ .Prompt }}", SYSTEM, USER)
    assert shown == "Be brief.\n\nHow do I quit?"


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (DROPS_THOUGHTS, (USER, {"role": "assistant", "content": "<think>Hm.</think>\nQ."}, AGAIN)),
        (DROPS_THOUGHTS, ({"role": "user", "content": "  a\n"},)),
        (AS_JSON, ({"role": "user", "content": 'Say "é\n".'},)),
        (NO_TOKENS, ({"role": "user", "content": "a<|im_end|>b"},)),
        (ONE_LINE, ({"role": "user", "content": "a\n\n b"},)),
        (TYPED, ({"role": "user", "content": "   "},)),
    ],
)  # fmt: skip
def test_what_templates_rightly_change_is_not_missed(
    template: str, messages: tuple[dict[str, str], ...]
) -> None:
    assert prompt(template, *messages)


def test_a_question_that_no_form_keeps_is_an_error() -> None:
    with pytest.raises(TemplateError, match='leaves the question out of the prompt: "How do I'):
        prompt("Hello!", USER)
    with pytest.raises(TemplateError, match='leaves the question out of the prompt: "How do I'):
        prompt(LAST_ONLY, USER, ASSISTANT, AGAIN)
    for template in ("{{ if .Tools }}x{{ end }}", "{{ if .System }}{{ .System }}{{ end }}"):
        with pytest.raises(TemplateError, match="leaves the question out"):
            go_prompt(template, USER)
    with pytest.raises(TemplateError, match="leaves an answer out"):
        prompt(NO_ANSWERS, USER, ASSISTANT, AGAIN)


def test_a_template_that_mixes_texts_and_parts_is_an_error_and_no_half_prompt() -> None:
    with pytest.raises(TemplateError):
        prompt(STRINGS_FOR_ANSWERS, USER, ASSISTANT, AGAIN)


def test_the_check_before_a_model_is_made_finds_the_same() -> None:
    check_chat_template(TYPED)
    check_chat_template(IGNORES_SYSTEM)
    check_template("{{ .Prompt }}")
    with pytest.raises(TemplateError, match="leaves the question out"):
        check_chat_template("{% if tools %}x{% endif %}")
    with pytest.raises(TemplateError, match="leaves the question out"):
        check_template("{{ if .Tools }}x{{ end }}")


def test_what_a_base_without_a_template_of_use_needs_is_a_sentence() -> None:
    assert template_problem(TYPED) == ""
    assert "no chat template" in template_problem(None)
    assert template_problem("").endswith("A TEMPLATE in the Modelfile says how to ask it.")
    assert template_problem("{% if tools %}x{% endif %}") == (
        "In the base, the chat template leaves the question out of the prompt: "
        '"What is the capital of Peru?". A TEMPLATE in the Modelfile replaces it.'
    )


def test_a_field_that_nothing_fills_is_told_with_the_nearest_name() -> None:
    assert unknown_fields("{{ if .System }}[{{ .Sytem }}]{{ end }}{{ .Prompt }}") == (
        'TEMPLATE writes {{ .Sytem }}, which is always empty (did you mean "System"?)',
    )
    assert unknown_fields("{{ range .Messages }}{{ .Role }}{{ .content }}{{ end }}") == ()
    assert unknown_fields("{{ range $i, $m := .Messages }}{{ $m.Colour }}{{ end }}") == (
        "TEMPLATE writes {{ .Colour }}, which is always empty",
    )


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_text_that_is_there_is_never_missed(first: str, second: str) -> None:
    messages = [{"role": "user", "content": first}, {"role": "user", "content": second}]
    assert not lost_messages(f"a{first}b{second}c", messages)
    assert not lost_messages(f"{second}{first}", messages)
