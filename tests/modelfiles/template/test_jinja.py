"""Chat templates: what they render, and that foreign ones can do no harm."""

from __future__ import annotations

import re
from datetime import datetime

import jinja2.ext
import jinja2.sandbox
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.errors import TemplateError
from modelfiles.template import bounds
from modelfiles.template.choose import choose_format
from modelfiles.template.jinja import (
    render_chat,
)
from modelfiles.template.whole import TemplateFormError, system_in_user

CHATML = """{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
<|im_start|>system
Default.<|im_end|>
{{ '' }}
    {%- endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message.content | trim + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}


def render(template: str, *messages: dict[str, str], is_prompt: bool = True) -> str:
    return render_chat(
        template,
        messages,
        bos_token="<s>",
        eos_token="</s>",
        add_generation_prompt=is_prompt,
    )


def render_any(template: str, *messages: dict[str, str]) -> str:
    chosen = choose_format(None, template, bos_token="<s>", eos_token="</s>")
    return chosen.render(messages)


def test_a_chatml_template() -> None:
    assert render(CHATML, SYSTEM, USER) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_llama_3_template() -> None:
    assert render(LLAMA3, USER, ASSISTANT, is_prompt=False) == (
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    )


CONTENTS = st.lists(st.text(alphabet="ab <|\n{}%\"'é", max_size=8), min_size=1, max_size=5)


PLAIN = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
)
TEMPLATES = [(template, PLAIN.from_string(template)) for template in (CHATML, LLAMA3, GEMMA)]


@settings(max_examples=40)
@given(contents=CONTENTS)
def test_the_bounds_change_nothing_of_what_plain_jinja_renders(contents: list[str]) -> None:
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]
    for template, plain in TEMPLATES:
        expected = plain.render(
            messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True
        )
        assert render(template, *messages) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a\n  {% if true %}\nb\n  {% endif %}\nc", "a\nb\nc"),
        (
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
            "13",
        ),
        ("{% for x in [1, 2] %}{{ x }}{% break %}{% endfor %}", "1"),
        ("{% for x in [] %}{% else %}none{% endfor %}", "none"),
        (
            "{% for x in 'ab' %}{{ loop.index }}{{ loop.length }}{{ loop.last }}{% endfor %}",
            "12False22True",
        ),
        ("{{ {'k': '<é>'} | tojson }}", '{"k": "<é>"}'),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{% generation %}kept{% endgeneration %}", "kept"),
        ("{{ tools is none }}{{ documents is none }}{{ unknown is defined }}", "TrueTrueFalse"),
        ("{{ eos_token ~ 1 ~ none ~ missing }}", "</s>1None"),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) ~ m(2) }}", "[1][2]"),
        (
            "{% set n = namespace(x=0) %}{% for m in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}",
            "2",
        ),
        (
            "{% for x in [[1], 2] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
            "12",
        ),
        ("{{ '%5d' % 1 ~ '%s' | format(2) ~ 'a' | center(3) ~ 'b'.ljust(2) }}", "    12 a b "),
        ("{{ 'x 20240101000000'.replace('0', 'o') }}", "x 2o24o1o1oooooo"),
        ("{{ messages[::-1][0].content }}{{ messages[0]['nothing'] }}", "Hi"),
    ],
)
def test_what_templates_use(template: str, expected: str) -> None:
    assert render(template, USER) == expected


def test_the_date_is_todays() -> None:
    before = datetime.now()
    shown = datetime.strptime(render("{{ strftime_now('%Y-%m-%d') }}"), "%Y-%m-%d")
    assert before.date() <= shown.date() <= datetime.now().date()


def test_a_refused_system_message_moves_into_the_first_user_message() -> None:
    with pytest.raises(TemplateFormError, match="System role not supported"):
        render(GEMMA, SYSTEM, USER)
    assert render_any(GEMMA, SYSTEM, USER) == (
        "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    assert "system" in render_any(CHATML, SYSTEM, USER)


def test_a_refusal_for_another_reason_is_told_as_it_is() -> None:
    with pytest.raises(TemplateFormError, match="roles must alternate"):
        render_any(GEMMA, USER, USER)
    with pytest.raises(TemplateFormError, match="System role not supported"):
        render_any(GEMMA, SYSTEM, USER, USER)
    with pytest.raises(TemplateFormError, match="System role not supported"):
        render_any(GEMMA, SYSTEM)


def test_leading_system_messages_merge_and_the_rest_stays() -> None:
    other = {"role": "system", "content": "Be kind."}
    assert system_in_user([SYSTEM, other, USER, ASSISTANT]) == [
        {"role": "user", "content": "Be brief.\n\nBe kind.\n\nHi"},
        ASSISTANT,
    ]
    assert system_in_user([USER, SYSTEM]) is None
    assert system_in_user([SYSTEM, ASSISTANT]) is None
    assert system_in_user([]) is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("a\n{% if %}", r"cannot be read, line 2: "),
        ("{{ ", r"cannot be read, line 1: "),
        ("{% for %}", r"cannot be read"),
        ("{{ 1 / 0 }}", "failed: division by zero"),
        ("{{ nothing.at.all }}", "failed: 'nothing' is undefined"),
        ("{{ raise_exception('a\x1b[2Jb') }}", "refuses the conversation: a.\\[2Jb"),
        ("{{ ''.__class__.__mro__ }}", "tries what it may not do"),
        ("{{ messages.append(1) }}", "tries what it may not do"),
        ("{{ raise_exception.__globals__.x }}", "tries what it may not do"),
        ("{% include 'x' %}", "failed: "),
        ("{{ range(10000000) | list }}", "failed: Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("{% for x in [1] %}" * 30 + "{% endfor %}" * 30, "nested too deeply"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
    ],
)
def test_a_template_that_fails_is_one_sentence(template: str, reason: str) -> None:
    with pytest.raises(TemplateError, match=reason) as raised:
        render(template, USER)
    assert str(raised.value).isprintable()


def test_messages_are_not_changed_by_a_template() -> None:
    messages = [dict(USER)]
    with pytest.raises(TemplateError):
        render("{{ messages[0].update(content='x') }}", *messages)
    assert messages == [USER]


NEVER_ENDING = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
]


@pytest.mark.parametrize("template", NEVER_ENDING, ids=["loops", "macros"])
def test_a_template_that_goes_on_is_stopped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_STEPS", 5_000)
    with pytest.raises(TemplateError, match="takes too long"):
        render(template)


TOO_LARGE = [
    "{{ 'a' * 10 ** 12 }}",
    "{{ 10 ** 12 * 'a' }}",
    "{{ [0] * 10 ** 12 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% for i in range(9999) %}{{ 'a' * 9999 }}{% endfor %}",
    "{{ 'a'.center(10 ** 12) }}",
    "{{ 'a' | center(10 ** 12) }}",
    "{{ 'a' | indent(10 ** 12, true) }}",
    "{{ '%999999999999d' % 1 }}",
    "{{ '%999999999999d' | format(1) }}",
    "{{ '{:>999999999999}'.format(1) }}",
]


@pytest.mark.parametrize("template", TOO_LARGE)
def test_a_template_that_builds_too_much_is_stopped(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_OUTPUT_CHARACTERS", 100_000)
    with pytest.raises(TemplateError, match=re.compile("more than 100000 char|number that is too")):
        render(template)


def test_a_long_chat_stays_within_the_bounds() -> None:
    messages = [USER, ASSISTANT] * 2_000
    assert render(CHATML, *messages).count("<|im_start|>") == 4_000 + 2
