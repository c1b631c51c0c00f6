"""adapter_config.json decides the scale of every module, and what cannot be converted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.adapters.foreign.peft.config import PeftConfig, peft_config, read_config
from engine.adapters.foreign.peft.fields import IDLE_FIELDS, READ_FIELDS, REFUSED_FIELDS
from engine.adapters.foreign.peft.patterns import Patterns
from engine.errors import AdapterError

PLAIN = {"peft_type": "LORA", "r": 8, "lora_alpha": 16}
Q, K, DOWN = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.k_proj",
    "model.layers.1.mlp.down_proj",
)


def judged(**fields: object) -> PeftConfig:
    """Return the configuration of plain LoRA with these fields beside."""
    return peft_config(Path("adapter/adapter_config.json"), {**PLAIN, **fields})


def refusal(fields: Mapping[str, object]) -> str:
    """Return the one sentence that refuses plain LoRA with these fields."""
    with pytest.raises(AdapterError) as error:
        judged(**fields)
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert "adapter" in message.split(": ")[0]  # where
    assert len(message.split(": ", 1)[1]) > 10  # what to do
    assert len(message) < 400
    return message


def test_the_scale_is_alpha_by_rank() -> None:
    found = judged().scale_of([Q])
    assert (found.rank, found.scale) == (8, 2.0)


def test_the_scale_of_rslora_is_alpha_by_the_root_of_the_rank() -> None:
    assert judged(use_rslora=True).scale_of([Q]).scale == 16 / math.sqrt(8)


def test_a_fraction_as_alpha_is_kept_exactly() -> None:
    assert judged(lora_alpha=0.1, r=3).scale_of([Q]).scale == 0.1 / 3
    assert judged(lora_alpha=-4).scale_of([Q]).scale == -0.5


def test_patterns_give_modules_ranks_and_alphas_of_their_own() -> None:
    config = judged(
        rank_pattern={"q_proj": 4, r".*\.1\.mlp\.(down|up)_proj": 32},
        alpha_pattern={"^model.layers.0.self_attn.k_proj": 3, "proj": 99},
        use_rslora=True,
    )
    assert config.scale_of([Q]).rank == 4
    assert config.scale_of([Q]).scale == 16 / 2
    assert config.scale_of([K]).scale == 3 / math.sqrt(8)
    assert config.scale_of([DOWN]).rank == 32
    assert config.scale_of([DOWN]).scale == 16 / math.sqrt(32)


@pytest.mark.parametrize(
    ("pattern", "name", "is_matched"),
    [
        ("q_proj", Q, True),
        ("q_proj", "model.layers.0.seq_proj", False),
        ("self_attn.q_proj", Q, True),
        ("attn.q_proj", Q, False),
        ("self_attn", Q, False),
        ("self.attn.q.proj", Q, True),  # a dot is any character
        ("^q_proj", Q, False),
        ("^model.layers.0.self_attn.q_proj", Q, True),
        (r"model\.layers\.[0-4]\.self_attn\.(q|k)_proj", Q, True),
        ("q_proj|k_proj", Q, True),
        ("q_proj|nothing", Q, True),
        (r"layers\.0\..*", Q, True),
        ("Q_proj", Q, False),
    ],
)
def test_a_pattern_matches_as_in_peft(pattern: str, name: str, is_matched: bool) -> None:
    found = judged(rank_pattern={pattern: 5}).scale_of([name])
    assert (found.rank == 5) is is_matched


def test_the_first_pattern_that_matches_counts() -> None:
    assert judged(rank_pattern={"q_proj": 5, "self_attn.q_proj": 6}).scale_of([Q]).rank == 5
    assert judged(rank_pattern={"self_attn.q_proj": 6, "q_proj": 5}).scale_of([Q]).rank == 6


def test_a_pattern_may_match_the_name_after_wrappers_are_gone() -> None:
    config = judged(alpha_pattern={"^model.layers.0.self_attn.q_proj": 8})
    names = ["model.language_model.layers.0.self_attn.q_proj", Q]
    assert config.scale_of(names).scale == 1.0


def test_adalora_is_scaled_by_the_rank_it_began_with() -> None:
    config = judged(peft_type="ADALORA", init_r=12, r=8, target_r=4, rank_pattern={"x": [True]})
    assert config.scale_of([Q]).scale == 16 / (12 + 1e-5)


def test_fields_without_effect_are_passed() -> None:
    config = judged(
        fan_in_fan_out=True,
        unsloth_fixed=True,
        lora_dropout=0.1,
        target_modules="all-linear",
        loftq_config={"loftq_bits": 4},
        megatron_core="megatron.core",
        qalora_group_size=16,
        velora_config={"num_groups": 64},
        bias="all",
        task_type="CAUSAL_LM",
        revision="main",
        some_new_field=None,
        another=False,
        a_list=[],
    )
    assert config.scale_of([Q]).scale == 2.0


def test_a_converted_adapter_of_pissa_is_plain_lora() -> None:
    config = judged(init_lora_weights=True, r=16, lora_alpha=32)
    assert config.scale_of([Q]).rank == 16


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "eva", "orthogonal", "mica"])
def test_starts_that_leave_the_base_alone_are_passed(init: object) -> None:
    assert judged(init_lora_weights=init).rank == 8


@pytest.mark.parametrize(
    "init", ["pissa", "pissa_niter_16", "PiSSA", "olora", "corda", "loftq", "lora_ga"]
)
def test_starts_that_change_the_base_are_refused(init: str) -> None:
    assert "path_initial_model_for_weight_conversion" in refusal({"init_lora_weights": init})


def test_tokens_base_and_targets_are_kept() -> None:
    config = judged(
        alora_invocation_tokens=[1, 49152],
        invocation_string="<|go|>",
        base_model_name_or_path=" example/base ",
        target_parameters=["mlp.experts.down_proj"],
        modules_to_save=["lm_head"],
    )
    assert config.invocation_tokens == (1, 49152)
    assert config.base_name == "example/base"
    assert config.target_parameters == ("mlp.experts.down_proj",)
    assert config.modules_to_save == ("lm_head",)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "DoRA": ({"use_dora": True}, "uses DoRA"),
    "a bias on B": ({"lora_bias": True}, "bias on B"),
    "repeated layers": ({"layer_replication": [[0, 4], [2, 5]]}, "repeated layers"),
    "new rows of the embedding": ({"trainable_token_indices": [3]}, "rows of the token"),
    "QALoRA": ({"use_qalora": True}, "QALoRA"),
    "BD-LoRA": ({"use_bdlora": {"nblocks": 2}}, "BD-LoRA"),
    "KaSA": ({"kasa_config": {"beta": 1e-4}}, "KaSA"),
    "Arrow": ({"arrow_config": {"top_k": 3}}, "Arrow"),
    "MonteCLoRA": ({"monteclora_config": {"num_samples": 8}}, "MonteCLoRA"),
    "tied factors": ({"ensure_weight_tying": True}, "ties its embedding"),
    "a variant not invented yet": ({"use_zora": True}, "'use_zora' is set, with an unknown effect"),
    "an invocation without its tokens": ({"invocation_string": "<go>"}, "'invocation_string'"),
    "a start not invented yet": ({"init_lora_weights": "zen"}, "is 'zen', with an unknown effect"),
    "a start that is a list": ({"init_lora_weights": ["pissa"]}, "unknown effect on the base"),
    "LoKr": ({"peft_type": "LOKR"}, "of the kind 'LOKR', not LORA"),
    "prefix tuning": ({"peft_type": "PREFIX_TUNING"}, "adds virtual tokens to attention"),
    "lower case": ({"peft_type": "lora"}, "of the kind 'lora'"),
    "no kind": ({"peft_type": None}, "'peft_type' is missing"),
    "a kind that is a number": ({"peft_type": 3}, "'peft_type' is missing or not a text"),
    "no rank": ({"r": None}, "'r' is missing"),
    "rank 0": ({"r": 0}, "'r' is 0"),
    "negative rank": ({"r": -8}, "'r' is -8"),
    "rank that is a fraction": ({"r": 8.0}, "'r' is 8.0"),
    "rank that is text": ({"r": "8"}, "'r' is '8'"),
    "rank that is true": ({"r": True}, "'r' is True"),
    "rank of a thousand digits": ({"r": 10**1000}, "'r' is 1000"),
    "rank that is a list": ({"r": [8] * 10_000}, "'r' is a list"),
    "no alpha": ({"lora_alpha": None}, "'lora_alpha' is missing"),
    "alpha that is nothing": ({"lora_alpha": math.nan}, "'lora_alpha' is nan"),
    "alpha without end": ({"lora_alpha": math.inf}, "'lora_alpha' is inf"),
    "alpha of a thousand digits": ({"lora_alpha": 10**1000}, "'lora_alpha' is 1000"),
    "alpha that is text": ({"lora_alpha": "16"}, "'lora_alpha' is '16'"),
    "alpha 0": ({"lora_alpha": 0}, "'lora_alpha' is 0"),
    "rslora that is text": ({"use_rslora": "yes"}, "'use_rslora' is 'yes'"),
    "a base that is a number": ({"base_model_name_or_path": 3}, "not a text"),
    "patterns that are a list": ({"rank_pattern": ["q_proj"]}, "'rank_pattern' is a list"),
    "rank 0 in a pattern": ({"rank_pattern": {"q_proj": 0}}, "gives 'q_proj' the value 0"),
    "alpha without end in a pattern": ({"alpha_pattern": {"q": math.inf}}, "the value inf"),
    "alpha 0 in a pattern": ({"alpha_pattern": {"q": 0}}, "the value 0"),
    "a broken pattern": ({"rank_pattern": {"(q_proj": 4}}, "not a regular expression"),
    "a pattern that takes for ever": ({"rank_pattern": {"(a+)+$": 4}}, "repeats too much"),
    "another one": ({"alpha_pattern": {".*.*.*.*x": 4}}, "repeats too much"),
    "a third one": ({"alpha_pattern": {"(a|a){9}": 4}}, "repeats too much"),
    "a fourth one": ({"rank_pattern": {"x?" * 40 + "x" * 40: 4}}, "repeats too much"),
    "a fifth one": ({"rank_pattern": {"(x|xx)" * 40 + "y": 4}}, "repeats too much"),
    "an endless pattern": ({"rank_pattern": {"q" * 1000: 4}}, "repeats too much"),
    "tokens that are text": ({"alora_invocation_tokens": "<go>"}, "not a list of token numbers"),
    "a negative token": ({"alora_invocation_tokens": [-1]}, "not a list of token numbers"),
    "targets that are numbers": ({"target_parameters": [3]}, "not a list of names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_pair_of_factors_cannot_express_is_refused(case: str) -> None:
    fields, said = REFUSED[case]
    assert said in refusal(fields)


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\.(0|1|2|3|4|5|6|7|8|9|10|11|12|13|14|15)\..*(q|k|v|o)_proj",
        r"^(model\.)?layers\.\d+\.(?:self_attn|mlp)\.(q_proj|down_proj)",
        "q_proj|k_proj|v_proj",
    ],
)
def test_patterns_that_people_write_are_taken(pattern: str) -> None:
    names = ["model.layers.7.self_attn.q_proj"]
    assert Patterns({pattern: 4}).find(names) == 4


BROKEN = {
    "empty": (b"", "is empty"),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "not JSON": (b"peft_type: LORA", "not JSON at line 1, column 1"),
    "a list": (b"[]", "not a JSON object"),
    "NaN": (b'{"lora_alpha": NaN}', "the number NaN"),
    "Infinity": (b'{"lora_alpha": -Infinity}', "the number -Infinity"),
    "a field twice": (b'{"r": 8, "r": 16}', "names 'r' twice"),
    "not UTF-8": (b'{"r": "\xff"}', "not valid UTF-8"),
    "nested for ever": (b'{"r": ' + b"[" * 100_000, "nested too deeply"),
    "endless number": (b'{"r": ' + b"9" * 5000 + b"}", "thousands of digits"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    content, said = BROKEN[case]
    path = tmp_path / "adapter_config.json"
    path.write_bytes(content)
    with pytest.raises(AdapterError) as error:
        read_config(path)
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert str(error.value).endswith(".")


def test_a_byte_order_mark_of_an_editor_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(PLAIN).encode())
    assert read_config(path) == PLAIN


def test_a_base_that_no_terminal_can_show_is_no_name() -> None:
    assert judged(base_model_name_or_path="\x1b[31mbase").base_name == ""


def test_a_number_beyond_all_numbers_is_no_alpha(tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(PLAIN).replace("16", "1e999"))
    with pytest.raises(AdapterError, match="'lora_alpha' is inf"):
        peft_config(path, read_config(path))


@pytest.mark.reference
def test_every_field_of_the_installed_peft_is_known_or_refused() -> None:
    import dataclasses

    from peft import LoraConfig

    known = READ_FIELDS | IDLE_FIELDS | REFUSED_FIELDS.keys()
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert fields <= known, fields - known


@pytest.mark.reference
def test_the_default_configurations_of_the_installed_peft_are_taken() -> None:
    from peft import AdaLoraConfig, LoraConfig

    for config in (LoraConfig(), AdaLoraConfig(total_step=10)):
        fields = json.loads(json.dumps(config.to_dict(), default=list))
        assert peft_config(Path("adapter_config.json"), fields).alpha == config.lora_alpha


@pytest.mark.reference
@pytest.mark.parametrize(
    "pattern",
    [
        "q_proj",
        "attn.q_proj",
        "^q_proj",
        "q_proj|k_proj",
        r".*\.0\..*",
        "self.attn.q.proj",
        "_proj",
    ],
)
def test_patterns_match_as_the_installed_peft_matches_them(pattern: str) -> None:
    from peft.utils.other import get_pattern_key

    for name in (Q, K, DOWN, "q_proj", "x.q_projection", "model.q_proj.base"):
        theirs = get_pattern_key([pattern], name) == pattern
        assert (judged(rank_pattern={pattern: 5}).scale_of([name]).rank == 5) is theirs
