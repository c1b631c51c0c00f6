"""Modelfiles with random damage: a model or one sentence, never anything else."""

from __future__ import annotations

import json
import random
import re

from modelfiles.errors import ModelfileError, ModelfilesError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import Library
from modelfiles.references.resolve import resolve
from tests.modelfiles.user_files import Folder
from tests.support.places import MODELFILE_DATA

CASES = json.loads((MODELFILE_DATA / "modelfile.json").read_text(encoding="utf-8"))
DEBRIS = [
    *(
        "",
        '"',
        '"""',
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
        "\x1b[2J",
        "é",
        "\ufeff",
        "#",
        "../",
        "~",
        "~root/",
    ),
    *("FROM ", "ADAPTER ", "scale=", "name=", "0.5", "nan", "PARAMETER ", "seed ", "MESSAGE user "),
    *("REQUIRES ", "DRAFT ", "hf.co/", "x" * 300, "base.gguf", "FROM ./base.gguf\n"),
]
N_MUTATED = 3_000


def mutated(random: random.Random) -> str:
    text = re.sub(r"^FROM [^ \n]+\n", "FROM base.gguf\n", str(random.choice(CASES)["modelfile"]))
    for _ in range(random.randint(0, 3)):
        begin = random.randint(0, len(text))
        end = begin + random.randint(0, 4)
        text = text[:begin] + random.choice(DEBRIS) + text[end:]
    return text


def test_damage_gives_a_model_or_one_sentence_with_a_line(folder: Folder, library: Library) -> None:
    folder.gguf("base.gguf")
    source = random.Random(2)
    n_models = n_refused = n_unresolved = 0
    for _ in range(N_MUTATED):
        text = mutated(source)
        try:
            modelfile = Modelfile.from_text(text)
        except ModelfileError as error:
            n_refused += 1
            assert_is_one_sentence(error, text)
            continue
        assert Modelfile.from_text(modelfile.to_text()) == modelfile, text
        try:
            resolve(modelfile, folder.path, library, "mutated")
        except ModelfilesError as error:
            n_unresolved += 1
            assert_is_one_sentence(error, text)
        else:
            n_models += 1
    assert min(n_models, n_refused, n_unresolved) > N_MUTATED // 20, "all three must be tried"


def assert_is_one_sentence(error: ModelfilesError, text: str) -> None:
    assert str(error).isprintable(), text
    assert re.match(r"\(line [1-9]\d*\): .", str(error)), text
