"""FROM and ADAPTER references: which file they lead to, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.errors import ModelfileError, ModelNameError, ReferenceNotFoundError
from modelfiles.language.modelfile import Modelfile
from modelfiles.library import Library
from modelfiles.model import Message, Model
from modelfiles.parameters import Parameters
from modelfiles.references.resolve import adapter_id, resolve
from modelfiles.store.created import ModelStore
from tests.modelfiles.user_files import Folder


def resolved(text: str, folder: Folder, library: Library) -> Model:
    return resolve(Modelfile.from_text(text), folder.path, library, "mine")


def refused(text: str, folder: Folder, library: Library) -> str:
    """Return what is said about a Modelfile that leads nowhere: one line, with its number."""
    with pytest.raises((ReferenceNotFoundError, ModelfileError)) as raised:
        resolved(text, folder, library)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("(line ")
    return message


def test_from_is_a_file_beside_the_modelfile(folder: Folder, library: Library) -> None:
    base = folder.gguf("weights/base.gguf")
    assert resolved("FROM ./weights/base.gguf", folder, library) == Model("mine:latest", base)
    assert resolved("FROM weights/base.gguf", folder, library).base == base
    assert resolved(f"FROM {base}", folder, library).base == base


def test_a_path_may_go_up_and_start_at_home(
    folder: Folder, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = folder.gguf("base.gguf")
    inner = folder.path / "inner"
    inner.mkdir()
    model = resolve(Modelfile.from_text("FROM ../base.gguf"), inner, library, "mine")
    assert model.base.samefile(base)
    monkeypatch.setenv("HOME", str(folder.path))
    assert resolved("FROM ~/base.gguf", folder, library).base == base


def test_from_is_a_folder_with_one_gguf(folder: Folder, library: Library) -> None:
    base = folder.gguf("llama/model.gguf")
    folder.gguf("llama/mmproj-model.gguf")
    assert resolved("FROM ./llama", folder, library).base == base
    folder.gguf("llama/other.gguf")
    assert "holds 2 GGUF files; name one of them" in refused("FROM ./llama", folder, library)


def test_an_empty_from_is_the_modelfiles_folder(folder: Folder, library: Library) -> None:
    base = folder.gguf("model.gguf")
    assert resolved("FROM \n", folder, library).base == base


def test_a_folder_comes_before_a_model_of_its_name(folder: Folder, library: Library) -> None:
    (folder.path / "demo").mkdir()
    message = refused("FROM demo", folder, library)
    assert "holds no GGUF file (a folder comes before a model of the same name" in message
    assert resolved("FROM demo:latest", folder, library).adapters[0].name == "pirate"


def test_safetensors_are_refused_with_the_way_to_convert_them(
    folder: Folder, library: Library
) -> None:
    folder.gguf("hf/model.safetensors")
    assert "convert_hf_to_gguf.py" in refused("FROM ./hf", folder, library)
    assert "convert_hf_to_gguf.py" in refused("FROM hf/model.safetensors", folder, library)
    folder.gguf("base.gguf")
    folder.gguf("peft/adapter_model.safetensors")
    text = "FROM ./base.gguf\nADAPTER ./peft"
    assert "convert it first: tui convert " in refused(text, folder, library)


def test_a_file_that_is_no_gguf_is_refused(folder: Folder, library: Library) -> None:
    folder.modelfile("garbage", "bad.gguf")
    folder.modelfile("", "empty.gguf")
    folder.gguf("base.gguf")
    assert "bad.gguf is not a GGUF file" in refused("FROM ./bad.gguf", folder, library)
    text = "FROM ./base.gguf\nADAPTER empty.gguf"
    assert refused(text, folder, library).startswith("(line 2): ADAPTER empty.gguf: ")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("./missing.gguf", "there is no such file (looked at "),
        ("missing.gguf", "there is no such file (looked at "),
        ("../missing", "there is no such file"),
        ("demmo", "model 'demmo:latest' not found (did you mean \"demo\"?)"),
        ("a/../b", "invalid model name"),
        ("not a name", "invalid model name"),
        ("hf.co/someone/Model-GGUF:Q4_K_M", "'tui pull hf.co/someone/Model-GGUF:Q4_K_M' downloads"),
        ("https://huggingface.co/someone/x", "'tui pull hf.co/someone/x' downloads it"),
        ("~no-such-user-here/x.gguf", "there is no such user's home folder"),
        ("x" * 5000, "invalid model name"),
        ("a\x00b", "holds a NUL character"),
    ],
)
def test_a_base_that_leads_nowhere_is_one_sentence(
    reference: str, reason: str, folder: Folder, library: Library
) -> None:
    message = refused(f"\nFROM {reference}\n", folder, library)
    assert reason in message
    assert message.startswith("(line 2): ")
    assert message.isprintable()


def test_an_adapter_that_leads_nowhere_is_one_sentence(folder: Folder, library: Library) -> None:
    folder.gguf("base.gguf")
    folder.gguf("a.gguf")
    for line, reason in [
        ("ADAPTER ./gone.gguf 0.5", "ADAPTER ./gone.gguf: there is no such file (looked at "),
        ("ADAPTER ./a.gguf 0,5", 'the scale must be a finite number, not "0,5"'),
        ("ADAPTER ./a.gguf high", 'the scale must be a finite number, not "high"'),
        ("ADAPTER hf.co/u/lora", "nothing can be downloaded here"),
        ('ADAPTER ""', "there is no such file"),
    ]:
        message = refused(f"FROM ./base.gguf\n{line}\n", folder, library)
        assert message.startswith("(line 2): ")
        assert reason in message


def test_a_draft_that_leads_nowhere_is_refused(folder: Folder, library: Library) -> None:
    folder.gguf("base.gguf")
    draft = folder.gguf("small.gguf")
    assert resolved("FROM base.gguf\nDRAFT small.gguf", folder, library).kept.drafts == (draft,)
    message = refused("FROM base.gguf\nDRAFT small.gguf\nDRAFT gone.gguf", folder, library)
    assert message.startswith("(line 3): DRAFT gone.gguf: there is no such file")


def test_all_adapters_apply_in_order_with_names_of_their_own(
    folder: Folder, library: Library
) -> None:
    base = folder.gguf("base.gguf")
    style = folder.gguf("my style.gguf")
    other = folder.gguf("more/my style.gguf")
    model = resolved(
        'FROM base.gguf\nADAPTER my style.gguf 0.5\nADAPTER "more/my style.gguf" scale=-1\n'
        "ADAPTER base.gguf name=my-style-2\nADAPTER my style.gguf name=x\n",
        folder,
        library,
    )
    assert [(a.name, a.path, a.scale) for a in model.adapters] == [
        ("my-style", style, 0.5),
        ("my-style-3", other, -1.0),
        ("my-style-2", base, 1.0),
        ("x", style, 1.0),
    ]


def test_an_argument_that_exists_as_a_whole_is_the_path(folder: Folder, library: Library) -> None:
    folder.gguf("base.gguf")
    folder.gguf("a.gguf")
    text = "FROM base.gguf\nADAPTER a.gguf 0.5\n"
    assert resolved(text, folder, library).adapters[0].scale == 0.5
    whole = folder.gguf("a.gguf 0.5")
    adapter = resolved(text, folder, library).adapters[0]
    assert (adapter.path, adapter.scale) == (whole, 1.0)
    quoted = resolved('FROM base.gguf\nADAPTER "a.gguf" 0.5\n', folder, library).adapters[0]
    assert (quoted.path.name, quoted.scale) == ("a.gguf", 0.5)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("pirate", "pirate"),
        ("my lora (v2)", "my-lora-v2"),
        ("海盗", "海盗"),
        ("..", "adapter"),
        ("a.b-c_d", "a.b-c_d"),
        ("x" * 200, "x" * 60),
    ],
)
def test_a_files_name_becomes_an_id(stem: str, name: str) -> None:
    assert adapter_id(Path("/models") / f"{stem}.gguf") == name


def test_a_model_is_inherited_and_extended(
    folder: Folder, library: Library, store: ModelStore
) -> None:
    folder.gguf("base.gguf")
    first = folder.gguf("first.gguf")
    second = folder.gguf("second.gguf")
    parent = resolved(
        "FROM base.gguf\nADAPTER first.gguf 0.5\nSYSTEM parent\nTEMPLATE t\nLICENSE A\n"
        "MESSAGE user hi\nPARAMETER seed 1\nPARAMETER stop a\nPARAMETER stop b\nRENDERER r\n",
        folder,
        library,
    )
    store.create("parent", parent)
    child = resolved(
        "FROM parent\nADAPTER second.gguf\nADAPTER first.gguf\nPARAMETER stop c\nLICENSE B\n"
        'SYSTEM ""\n',
        folder,
        library,
    )
    assert child.base.read_bytes() == (folder.path / "base.gguf").read_bytes()
    assert [(a.name, a.scale) for a in child.adapters] == [
        ("first", 0.5),
        ("second", 1.0),
        ("first-2", 1.0),
    ]
    assert [a.path.read_bytes() for a in child.adapters] == [
        path.read_bytes() for path in (first, second, first)
    ]
    assert child.parameters == Parameters(seed=1, stop=("c",))
    assert (child.system, child.template, child.kept.renderer) == ("parent", "t", "r")
    assert child.messages == (Message("user", "hi"),)
    assert child.licenses == ("A", "B")
    grandchild = resolved("FROM parent\nSYSTEM own\nMESSAGE user new\n", folder, library)
    assert grandchild.system == "own"
    assert grandchild.messages == (Message("user", "new"),)


def test_an_explicit_name_may_not_repeat_an_inherited_one(folder: Folder, library: Library) -> None:
    folder.gguf("a.gguf")
    message = refused("FROM demo\nADAPTER a.gguf name=pirate", folder, library)
    assert message.startswith('(line 2): the adapter name "pirate" is already taken')


def test_of_several_names_the_last_counts_and_several_files_are_refused(
    folder: Folder, library: Library
) -> None:
    folder.gguf("a.gguf")
    folder.gguf("b.gguf")
    assert resolved("FROM a.gguf\nFROM demo", folder, library).adapters[0].name == "pirate"
    assert "keep one FROM line" in refused("FROM a.gguf\nFROM b.gguf", folder, library)


def test_the_name_of_the_model_must_be_one(folder: Folder, library: Library) -> None:
    folder.gguf("base.gguf")
    with pytest.raises(ModelNameError):
        resolve(Modelfile.from_text("FROM base.gguf"), folder.path, library, "../evil")
