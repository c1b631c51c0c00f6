"""Which file of a repository a reference means."""

from __future__ import annotations

import pytest

from engine.errors import HubError
from engine.hub.client.gguf_files import HubFile, chosen_files, gguf_choices
from modelfiles.references.hub import HubReference

# Names as the best-known repositories have them, with sizes in their order.
FILES = [
    HubFile(name, size)
    for name, size in [
        ("README.md", 1),
        ("Model-IQ2_M.gguf", 20),
        ("Model-Q3_K_L.gguf", 35),
        ("Model-Q4_0.gguf", 38),
        ("Model-IQ4_XS.gguf", 37),
        ("Model-Q4_K_S.gguf", 39),
        ("Model-Q4_K_M.gguf", 40),
        ("Model-UD-Q5_K_XL.gguf", 50),
        ("Model-Q8_0.gguf", 80),
        ("BF16/Model-BF16-00001-of-00002.gguf", 90),
        ("BF16/Model-BF16-00002-of-00002.gguf", 70),
        ("mmproj-Model-f16.gguf", 9),
        ("Model.imatrix.gguf", 1),
    ]
]


def chosen(choice: str | None, files: list[HubFile] = FILES) -> list[str]:
    reference = HubReference("user/repo", choice, "model")
    return [file.path for file in chosen_files(reference, files)]


def refused(choice: str | None, files: list[HubFile], kind: str = "model") -> str:
    reference = HubReference("user/repo", choice, "adapter" if kind == "adapter" else "model")
    with pytest.raises(HubError) as raised:
        chosen_files(reference, files)
    return str(raised.value)


def without(*labels: str) -> list[HubFile]:
    return [file for file in FILES if not any(label in file.path for label in labels)]


@pytest.mark.parametrize(
    ("choice", "path"),
    [
        ("Q8_0", "Model-Q8_0.gguf"),
        ("q8_0", "Model-Q8_0.gguf"),
        ("iq2_m", "Model-IQ2_M.gguf"),
        ("Q5_K_XL", "Model-UD-Q5_K_XL.gguf"),
        ("ud-q5_k_xl", "Model-UD-Q5_K_XL.gguf"),
        ("Model-Q4_0.gguf", "Model-Q4_0.gguf"),
        ("model-q4_0", "Model-Q4_0.gguf"),
        (None, "Model-Q4_K_M.gguf"),
    ],
)
def test_a_quantisation_is_found_whatever_its_case(choice: str | None, path: str) -> None:
    assert chosen(choice) == [path]


def test_without_q4_k_m_the_smallest_of_four_bits_and_more_is_taken() -> None:
    assert chosen(None, without("Q4_K_M")) == ["Model-IQ4_XS.gguf"]
    assert chosen(None, without("Q4_", "IQ4")) == ["Model-UD-Q5_K_XL.gguf"]


def test_below_four_bits_the_largest_is_taken() -> None:
    low = [HubFile("a-IQ1_S.gguf", 10), HubFile("a-Q2_K.gguf", 20), HubFile("a-IQ2_XXS.gguf", 15)]
    assert chosen(None, low) == ["a-Q2_K.gguf"]


def test_a_split_model_is_all_its_parts_in_order() -> None:
    expected = [f"BF16/Model-BF16-0000{part}-of-00002.gguf" for part in (1, 2)]
    assert chosen("bf16", list(reversed(FILES))) == expected
    assert chosen("BF16/Model-BF16-00002-of-00002.gguf") == expected


def test_a_split_model_that_lacks_a_part_is_refused_and_never_the_default() -> None:
    assert 'lacks parts of "BF16", 1 of 2 are there' in refused("bf16", without("00002-of"))
    parts = [HubFile("a-Q4_K_M-00001-of-00003.gguf", 1), HubFile("a-Q8_0.gguf", 9)]
    assert chosen(None, parts) == ["a-Q8_0.gguf"]


def test_a_quantisation_that_a_folder_names_is_found() -> None:
    files = [HubFile("Q4_0/weights.gguf", 1), HubFile("Q8_0/weights.gguf", 2)]
    assert chosen("q8_0", files) == ["Q8_0/weights.gguf"]
    assert [choice.label for choice in gguf_choices(files)] == ["Q4_0", "Q8_0"]


def test_the_only_file_needs_no_name() -> None:
    assert chosen(None, [HubFile("anything.gguf", 1), HubFile("x.json", 1)]) == ["anything.gguf"]


@pytest.mark.parametrize(
    ("choice", "files", "reason"),
    [
        (None, [HubFile("model.safetensors", 9)], "hf.co/user/repo has no GGUF file: choose a"),
        (
            "Q9_K",
            FILES,
            'hf.co/user/repo has no "Q9_K" (did you mean "Q2_K"?)',
        ),
        ("q4", [HubFile("a-Q4_0.gguf", 1), HubFile("a-Q5_0.gguf", 1)], "there are Q4_0, Q5_0"),
        (
            "Q4_0",
            [HubFile("one-Q4_0.gguf", 1), HubFile("two-Q4_0.gguf", 1)],
            "hf.co/user/repo:Q4_0 fits 2 files: name one of them, one-Q4_0.gguf, two-Q4_0.gguf.",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence_with_what_is(
    choice: str | None, files: list[HubFile], reason: str
) -> None:
    sentence = refused(choice, files)
    assert reason.split(" (did")[0] in sentence
    assert sentence.isprintable()


def test_of_several_adapters_one_must_be_named() -> None:
    adapters = [HubFile("formal-lora.gguf", 1), HubFile("pirate-lora.gguf", 2)]
    assert refused(None, adapters, "adapter") == (
        "hf.co/user/repo has 2 GGUF files: name one behind a colon, formal-lora.gguf, "
        "pirate-lora.gguf."
    )
    reference = HubReference("user/repo", "pirate-lora.gguf", "adapter")
    assert chosen_files(reference, adapters) == (adapters[1],)
    assert "there are formal-lora.gguf, pirate" in refused("pirat", adapters, "adapter")
    assert chosen_files(HubReference("user/repo", None, "adapter"), adapters[:1]) == (adapters[0],)
