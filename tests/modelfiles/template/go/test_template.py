"""Go templates: what the language means here, where its faults are found, and that none hangs."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.errors import TemplateError
from modelfiles.template import bounds
from modelfiles.template.check import check_template
from modelfiles.template.go.template import parse_go
from modelfiles.template.go.values import Struct, Value
from modelfiles.template.go_chat import render_messages
from tests.support.places import MODELFILE_DATA

CASES = json.loads((MODELFILE_DATA / "templates.json").read_text("utf-8"))
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Go on"},
]
ROOT: dict[str, Value] = {
    "name": "Ann",
    "empty": "",
    "n": 3,
    "list": ["a", "b", "c"],
    "map": {"z": 1, "a": "<x>"},
    "person": Struct("Person", {"Name": "Bo", "Age": 4, "Job": ""}, required=("Name",)),
}


def render(template: str) -> str:
    return parse_go(template).render(ROOT)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a {{- .name -}} b", "aAnnb"),
        ("a {{ .name }} b", "a Ann b"),
        ("a\n{{- /* note */ -}}\n b", "ab"),
        ("{{/* {{ .name }} */}}x", "x"),
        ("{{.n}}{{-3}}", "3-3"),
        ("{{ .n\n}}", "3"),
        ("} {{ `}}` }} }", "} }} }"),
    ],
)
def test_text_is_trimmed_only_where_white_space_stands_beside_the_minus(
    template: str, expected: str
) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (r"""{{ "a\tb\"\\\x41\u00e9\101\U0001F600\n" }}""", 'a\tb"\\AéA😀\n'),
        (r"{{ `a\n` }}", r"a\n"),
        ("{{ 'a' }}", "97"),
        ("{{ 0x1F }} {{ -5 }} {{ +2 }} {{ 1_000 }} {{ 0o17 }} {{ 017 }}", "31 -5 2 1000 15 15"),
        ("{{ 1.50 }} {{ 2.0 }} {{ 1e3 }} {{ 1e21 }} {{ .5 }}", "1.5 2 1000 1e+21 0.5"),
        ("{{ true }}{{ false }}", "truefalse"),
    ],
)
def test_literals_are_read_as_go_reads_them(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ if .name }}y{{ else }}n{{ end }}", "y"),
        ("{{ if .empty }}1{{ else if .list }}2{{ else if .name }}3{{ else }}4{{ end }}", "2"),
        ("{{ if .absent }}1{{ else }}2{{ end }}", "2"),
        ("{{ if 0 }}1{{ end }}{{ if 0.5 }}2{{ end }}{{ if .person }}3{{ end }}", "23"),
        ("{{ with .name }}<{{ . }}>{{ else }}none{{ end }}", "<Ann>"),
        ("{{ with .empty }}1{{ else with .n }}<{{ . }}>{{ else }}none{{ end }}", "<3>"),
        ("{{ with $x := .name }}{{ $x }}{{ $.n }}{{ end }}", "Ann3"),
    ],
)
def test_conditions_take_what_is_not_empty_for_true(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ range .list }}{{ . }},{{ end }}", "a,b,c,"),
        ("{{ range $x := .list }}{{ $x }}{{ $.n }}{{ end }}", "a3b3c3"),
        ("{{ range $i, $x := .list }}{{ $i }}{{ $x }}{{ end }}", "0a1b2c"),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v }};{{ end }}", "a=<x>;z=1;"),
        ("{{ range .absent }}x{{ else }}none{{ end }}", "none"),
        ("{{ range 3 }}{{ . }}{{ end }}", "012"),
        ("{{ range .list }}{{ if eq . `b` }}{{ continue }}{{ end }}{{ . }}{{ end }}", "ac"),
        ("{{ range .list }}{{ if eq . `b` }}{{ break }}{{ end }}{{ . }}{{ end }}", "a"),
        ("{{ range .list }}{{ range $.no }}{{ else }}{{ break }}{{ end }}x{{ end }}.", "."),
        ("{{ $l := `` }}{{ range $l = .list }}{{ end }}{{ $l }}", "c"),
        ("{{ range $x := .list }}{{ $x = `q` }}{{ $x }}{{ end }}", "qqq"),
        ("{{ range $i := ($y := .list) }}{{ $i }}{{ end }}", "abc"),
    ],
)
def test_ranges_go_through_lists_maps_and_numbers(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x }}{{ end }}{{ $x }}", "22"),
        ("{{ if $x := .n }}{{ $x }}{{ else }}{{ $x }}{{ end }}", "3"),
        ("{{ $.name }}{{ $p := .person }}{{ $p.Name }}", "AnnBo"),
        ("{{ (index .list 1) }}{{ (print .name) }}", "bAnn"),
        ("{{ .map.a }}{{ .absent.deeper.still }}", "<x><no value>"),
        ("{{ .name | printf `%s-%s` `x` | len }}", "5"),
        ("{{ .map }} {{ .list }} {{ .person }}", '{"a":"\\u003cx\\u003e","z":1} '),
    ],
)
def test_names_reach_the_innermost_scope_that_has_them(template: str, expected: str) -> None:
    assert render(template).startswith(expected)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ eq .n 1 2 3 }}{{ eq .name `x` }}{{ ne .name `x` }}", "truefalsetrue"),
        ("{{ eq .absent `x` }}{{ eq .absent .absent }}", "falsetrue"),
        ("{{ lt 1 2 }}{{ le 2 2 }}{{ gt `b` `a` }}{{ ge 1.5 2.5 }}", "truetruetruefalse"),
        ("{{ and .name .n }}{{ and .empty .n }}|{{ or .empty .n }}{{ or .empty 0 }}", "3|30"),
        ("{{ and false (index .list 99) }}{{ or 1 (index .list 99) }}", "false1"),
        ("{{ not .empty }}{{ not .name }}", "truefalse"),
        ("{{ len .list }}{{ len .map }}{{ len `é` }}", "322"),
        ("{{ index .map `z` }}{{ index .list 2 }}{{ index .map `q` }}", "1c<no value>"),
        ("{{ slice .list 1 }}{{ slice .list 0 1 }}{{ slice .name 1 2 }}", '["b","c"]["a"]n'),
        ("{{ print .n .n `x` .n }}", "3 3x3"),
        ("{{ json .person }}{{ json .list }}{{ json .absent }}", None),
        ("{{ toTypeScriptType .map }}", "any"),
    ],
)
def test_functions_do_what_gos_do(template: str, expected: str | None) -> None:
    assert render(template) == (expected or '{"name":"Bo","age":4}["a","b","c"]null')


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("`%s|%5s|%-5s|%.2s` `abc` `abc` `abc` `abc`", "abc|  abc|abc  |ab"),
        ("`%d|%05d|%+d|%x|%X` 7 -7 7 255 255", "7|-0007|+7|ff|FF"),
        ("`%v %v %v %v` .n .name .list true", '3 Ann ["a","b","c"] true'),
        ('`%q %t %c %%` `a"b` true 97', '"a\\"b" true a %'),
        ("`%.2f %g %e` 1.5 1.5 1.5", "1.50 1.5 1.500000e+00"),
        ("`%d` `hi`", "%!d(string=hi)"),
        ("`%s`", "%!s(MISSING)"),
        ("`x` 1", "x%!(EXTRA int=1)"),
        ("`%`", "%!(NOVERB)"),
        ("`%c` 0xD800", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_printf_formats_as_go_does(form: str, expected: str) -> None:
    assert render(f"{{{{ printf {form} }}}}") == expected


def test_dates_are_local_days() -> None:
    yesterday = date.today() - timedelta(days=1)
    assert render("{{ currentDate }} {{ yesterdayDate }}") == f"{date.today()} {yesterday}"


@pytest.mark.parametrize(
    ("template", "line", "column", "reason"),
    [
        ("a\nbc {{ shout }}", 2, 7, 'function "shout" not defined'),
        ("{{ if .x }}", 1, 4, "unexpected EOF"),
        ("{{ end }}", 1, 4, "unexpected {{end}}"),
        ("{{ if .x }}{{ else }}{{ else }}{{ end }}", 1, 25, "expected end; found {{else}}"),
        ("{{ else }}", 1, 4, "unexpected {{else}}"),
        ("{{ .x", 1, 1, "unclosed action"),
        ("{{/* x", 1, 3, "unclosed comment"),
        ("{{/* x */ .y }}", 1, 3, "comment ends before closing delimiter"),
        ("{{ }}", 1, 4, "missing value for command"),
        ("{{ if }}{{ end }}", 1, 7, "missing value for if"),
        ("{{ $x }}", 1, 4, 'undefined variable "$x"'),
        ("{{ $x = 1 }}", 1, 4, 'undefined variable "$x"'),
        ("{{ (.x }}", 1, 4, "unclosed left paren"),
        ("{{ .x) }}", 1, 6, 'unexpected ")" in command'),
        ('{{ "abc }}', 1, 4, "unterminated quoted string"),
        ("{{ `abc }}", 1, 4, "unterminated raw quoted string"),
        (r'{{ "\q" }}', 1, 4, "bad string"),
        ("{{ 1x }}", 1, 4, "bad number"),
        ("{{ 99999999999999999999 }}", 1, 4, "bad number"),
        ("{{ .x & .y }}", 1, 7, 'unexpected "&" in action'),
        ("{{ .x | 3 }}", 1, 9, "non executable command in pipeline stage 2"),
        ("{{ nil }}", 1, 4, "nil is not a command"),
        ("{{ break }}", 1, 4, "{{break}} outside {{range}}"),
        ("{{ range .x }}{{ else }}{{ continue }}{{ end }}", 1, 28, "outside {{range}}"),
        ("{{ $a, $b := .x }}", 1, 6, "declarations"),
        ("{{ range $a, $b, $c := .x }}{{ end }}", 1, 16, "declarations"),
        ('{{ define "x" }}{{ end }}', 1, 4, "{{define}} is not supported"),
        ('{{ template "x" . }}', 1, 4, "{{template}} is not supported"),
        ('{{ block "x" . }}{{ end }}', 1, 4, "{{block}} is not supported"),
        ("{{ " + "(" * 90 + "1" + ")" * 90 + " }}", 1, 64, "nested more than 60 deep"),
        ("{{ if 1 }}" * 90 + "{{ end }}" * 90, 1, 604, "nested more than 60 deep"),
        ("{{ $a := 1 }}" * 600, 1, 6488, "more than 500 variables"),
    ],
)
def test_what_is_wrong_is_found_before_rendering_with_its_place(
    template: str, line: int, column: int, reason: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(reason)) as raised:
        parse_go(template)
    assert str(raised.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .person.Nick }}", "can't evaluate field Nick in type Person"),
        ("{{ .name.Nick }}", "can't evaluate field Nick in type string"),
        ("{{ eq .name 1 }}", "incompatible types for comparison"),
        ("{{ eq .list .list }}", "non-comparable type slice"),
        ("{{ lt true false }}", "invalid type for comparison"),
        ("{{ eq .name }}", "missing argument for comparison"),
        ("{{ not }}", "wrong number of args for not: got 0"),
        ("{{ and }}", "wrong number of args for and: got 0"),
        ("{{ len 3 }}", "len of type int"),
        ("{{ index .list 9 }}", "index out of range: 9"),
        ("{{ index .list -1 }}", "index out of range: -1"),
        ("{{ index .list `a` }}", "cannot index slice/array with type string"),
        ("{{ index .absent 1 }}", "index of untyped nil"),
        ("{{ slice .list 2 1 }}", "invalid slice index: 2, 1"),
        ("{{ range .name }}{{ end }}", "range can't iterate over a value of type string"),
        ("{{ .name 3 }}", "can't give arguments"),
        ("{{ 3 | .name }}", "can't give arguments"),
        ("{{ if and false ($x := 1) }}{{ end }}{{ or true ($y := 1) }}{{ $y }}", "undefined"),
    ],
)
def test_what_the_values_do_not_allow_is_an_error_with_its_place(
    template: str, reason: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(reason)) as raised:
        render(template)
    assert re.match(r"line 1, column \d+: ", str(raised.value))


@pytest.mark.parametrize(
    "template",
    [
        "{{ range 1000000000000 }}{{ end }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
    ],
)
def test_a_loop_without_end_is_stopped(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_STEPS", 5_000)
    with pytest.raises(TemplateError, match="takes too long"):
        render(template)


def test_a_rendering_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SECONDS", 0.0)
    with pytest.raises(TemplateError, match="takes too long"):
        render("{{ range 1000 }}{{ . }}{{ end }}")


@pytest.mark.parametrize(
    "template",
    [
        "{{ $x := `ab` }}{{ range 60 }}{{ $x = printf `%s%s` $x $x }}{{ end }}",
        "{{ $x := `ab` }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}",
        "{{ printf `%99999999999d` 1 }}",
        "{{ printf `%.999999999f` 1.5 }}",
        "{{ range 5000 }}{{ `a long line of text that is repeated` }}{{ end }}",
    ],
)
def test_a_text_without_end_is_refused(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_OUTPUT_CHARACTERS", 100_000)
    with pytest.raises(TemplateError, match="more than 100000 characters"):
        render(template)


def test_a_template_of_a_megabyte_is_refused() -> None:
    with pytest.raises(TemplateError, match="more than 1048576 characters"):
        parse_go("x" * (2**20 + 1))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ .Prompt }}{{ if true }}[{{ .Response }}]{{ else }}no{{ end }}!", "Hi[Hello]!Go on["),
        ("{{ .Prompt }}{{ if .Response }}+{{ end }};", "Hi+;Go on;"),
        ("{{ .Prompt }}>{{ $.Response }};", "Hi>Hello;Go on>;"),
        ("{{ .Prompt }}{{ range 2 }}{{ $.Response }}{{ end }};", "HiHelloHello;Go on;"),
        ("{{ if .Response }}{{ .Response }}{{ else if .Prompt }}{{ .Prompt }}{{ end }}.", "Hello."),
    ],
)
def test_an_older_template_is_cut_at_the_first_response_of_the_last_turn(
    template: str, expected: str
) -> None:
    assert render_messages(template, MESSAGES[1:]) == expected


def test_an_older_template_can_ask_not_to_think() -> None:
    template = "{{ .Prompt }}{{ if and .IsThinkSet (not .Think) }} /no_think{{ end }}"
    asked = [{"role": "user", "content": "Hi"}]
    prompts = [render_messages(template, asked, thinks=thinks) for thinks in (None, True, False)]
    assert prompts == ["Hi", "Hi", "Hi /no_think"]


def test_a_template_is_checked_with_a_conversation() -> None:
    check_template("{{ range .Messages }}{{ .Role }}: {{ .Content }}{{ end }}")
    with pytest.raises(TemplateError, match="line 2, column 4: can't evaluate field Text"):
        check_template("{{ range .Messages }}\n{{ .Text }}{{ end }}")


FRAGMENTS = [
    *("{{", "}}", "{{-", "-}}", "{{- ", " -}}", "/*", "*/", "(", ")", "|", ":=", "=", ",", " "),
    *("if ", "else", "end", "range ", "with ", "break", "continue", "{{ end }}", "{{ else }}"),
    *(".Messages", ".Role", ".Content", ".", "$", "$x", "$i, $m := ", ".Response", ".System"),
    *("eq ", "and ", "or ", "not ", "len ", "index ", "slice ", "print ", "printf ", "json "),
    *('"a\\x41"', "`%s %5d`", "'x'", "1", "-1", "1e9", "99999999", "true", "nil", "\n", "é", "\\"),
    *("{{ range .Messages }}", "{{ if .System }}", "{{ .Content }}", "{{ $x := . }}", "\ud800"),
]
MUTATIONS = st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(FRAGMENTS))


def mutated(template: str, mutations: list[tuple[float, int, str]]) -> str:
    for place, n_removed, inserted in mutations:
        at = int(place * len(template))
        template = template[:at] + inserted + template[at + n_removed :]
    return template


def assert_ends_well(template: str) -> None:
    """Render a template, which gives a text or says in one sentence why it cannot."""
    sentence = ""
    try:
        render_messages(template, MESSAGES)
    except TemplateError as error:
        sentence = str(error)
    assert "\n" not in sentence


@settings(max_examples=400)
@given(
    template=st.sampled_from([case["template"] for case in CASES]),
    mutations=st.lists(MUTATIONS, min_size=1, max_size=6),
)
def test_a_mutated_template_gives_a_text_or_an_error(
    template: str, mutations: list[tuple[float, int, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_STEPS", 2_000)
        patch.setattr(bounds, "MAX_OUTPUT_CHARACTERS", 100_000)
        assert_ends_well(mutated(template, mutations))


@settings(max_examples=400)
@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=25))
def test_any_template_gives_a_text_or_an_error(parts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_STEPS", 2_000)
        patch.setattr(bounds, "MAX_OUTPUT_CHARACTERS", 100_000)
        assert_ends_well("".join(parts))
