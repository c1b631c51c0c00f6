"""`settings.toml`: what it may say, what is told of a mistake, what the engine gets."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from engine.protocol.settings import EngineSettings
from tests.support.chat import chat, notices, screen_text, tiny_model
from tests.support.scripted_engine import ScriptedEngine
from tui.chat import app as tui_app
from tui.errors import UsageError
from tui.settings import SETTINGS, Settings, SettingsError, read_settings, settings_text

EVERY = """\
# mine
fuse = "never"
swap = "keep"
live = true
prepare = false
kv_memory_mib = 512
kv_disk_mib = 64
fused_disk_mib = 0
"""


def written(folder: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "settings.toml").write_bytes(content)
    return folder


def test_without_a_file_everything_is_the_default(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    assert Settings().for_engine(None) == EngineSettings()


def test_every_setting_can_be_written_and_reaches_the_engine(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, EVERY))
    assert settings.for_engine(tmp_path / "cache") == EngineSettings(
        fuse="never",
        swap="keep",
        is_live=True,
        prepares=False,
        kv_memory_bytes=512 * 2**20,
        kv_disk_bytes=64 * 2**20,
        fused_disk_bytes=0,
        cache_folder=str(tmp_path / "cache"),
    )


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbflive = true\r\n"
    assert read_settings(written(tmp_path, text)) == Settings(live=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('fuse = "fast"', 'fuse is "fast", but has to be "auto", "always" or "never".'),
        ("fuse = true", 'fuse is true, but has to be "auto", "always" or "never".'),
        ('swap = "Keep"', 'swap is "Keep", but has to be "evaluate" or "keep".'),
        ('live = "yes"', 'live is "yes", but has to be true or false.'),
        ("prepare = 1", "prepare is 1, but has to be true or false."),
        ("kv_memory_mib = -1", "kv_memory_mib is -1, but has to be a whole number of MiB from 0"),
        ("kv_memory_mib = 1.5", "kv_memory_mib is 1.5, but has to be a whole number"),
        ("kv_disk_mib = true", "kv_disk_mib is true, but has to be a whole number"),
        ("fused_disk_mib = 99999999999", "fused_disk_mib is 99999999999, but has to be a whole"),
        ('kv_disk_mib = "2 GB"', 'kv_disk_mib is "2 GB", but has to be a whole number'),
        ("kv_disk = 5", 'there is no setting "kv_disk" (did you mean "kv_disk_mib"?); there are'),
        ("[engine]\nlive = true", 'there is no setting "engine"; there are fuse, swap, live,'),
        ("live = tru", "is not valid TOML: "),
        ("live = true\nlive = false", "is not valid TOML: "),
        (b"live = true # \xff", "is not text in UTF-8."),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file_and_the_key(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(written(tmp_path, text))
    sentence = str(caught.value)
    assert sentence.startswith(str(tmp_path / "settings.toml"))
    assert said in sentence
    assert "\n" not in sentence
    assert isinstance(caught.value, UsageError)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").mkdir()
    with pytest.raises(SettingsError, match=r"settings\.toml cannot be read: Is a directory\."):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    "settings", [Settings(), Settings("never", "keep", True, False, 512, 64, 0)], ids=["as", "all"]
)
def test_what_is_shown_is_a_file_that_gives_the_same_settings(
    settings: Settings, tmp_path: Path
) -> None:
    text = settings_text(settings, tmp_path)
    assert str(tmp_path / "settings.toml") in text
    widest = max(text.splitlines()[1:], key=len)
    assert len(widest) <= 37, f"a terminal of 80 columns wraps {widest!r}"
    assert read_settings(written(tmp_path, text)) == settings


def test_every_setting_is_explained() -> None:
    assert [setting.key for setting in SETTINGS] == list(Settings.__struct_fields__)
    assert all(setting.description and setting.default for setting in SETTINGS)


async def test_a_file_that_is_wrong_costs_the_chat_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(written(tmp_path, "live = 3")))
    engine = ScriptedEngine([["Yes."]])
    monkeypatch.setattr(tui_app, "new_engine", lambda: engine)
    app = tui_app.app_of_this_machine(None)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert len(notices(app)) == 1
        assert notices(app)[0].startswith("The settings are the default ones.")
        assert "live is 3, but has to be true or false." in notices(app)[0]
        assert app.chat.session.settings == Settings()


async def test_the_engine_knows_the_settings_before_it_loads_a_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_TUI_HOME", str(written(tmp_path, EVERY)))
    told: list[int] = []

    class Watched(ScriptedEngine):
        async def configure(self, settings: EngineSettings) -> None:
            told.append(len(self.loads))
            await super().configure(settings)

    engine = Watched([["Yes."]])
    monkeypatch.setattr(tui_app, "new_engine", lambda: engine)
    app = tui_app.app_of_this_machine(tiny_model(tmp_path))
    async with app.run_test() as pilot:
        while not engine.loads:
            await pilot.pause()
    assert told == [0]
    assert engine.settings[0].fuse == "never"
    assert engine.settings[0].cache_folder == str(tmp_path / "cache")


async def test_settings_are_changed_in_the_chat_until_it_ends(tmp_path: Path) -> None:
    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, tiny_model(tmp_path)) as (app, pilot):

        async def command(text: str) -> None:
            app.chat.query_one("#prompt").text = text
            await pilot.press("enter")
            await pilot.pause()

        for text in ("/set fuse always", "/set swap KEEP", "/set live on", "/set prepare off"):
            await command(text)
        assert notices(app)[-1] == "Set prepare to 'off' until you quit."
        told = engine.settings[-1]
        assert (told.fuse, told.swap, told.is_live, told.prepares) == (
            "always",
            "keep",
            True,
            False,
        )
        await command("/set fuse fast")
        assert notices(app)[-1] == '/set fuse takes auto, always or never, not "fast"'
        await command("/set swap")
        assert notices(app)[-1] == "/set swap takes evaluate or keep"
        app.chat.query_one("#prompt").text = ""
        await command("/show settings")
        await pilot.pause()
        assert 'swap = "keep"' in screen_text(app)
    assert not list(tmp_path.glob("**/settings.toml"))


async def test_settings_that_the_engine_refuses_stay_as_they_were(tmp_path: Path) -> None:
    from engine.errors import WorkerError

    engine = ScriptedEngine([["Yes."]])
    async with chat(engine, tiny_model(tmp_path)) as (app, pilot):
        engine.configure_error = WorkerError("The worker process ended.")
        app.chat.query_one("#prompt").text = "/set fuse never"
        await pilot.press("enter")
        await pilot.pause()
        assert notices(app) == ["The worker process ended."]
        assert app.chat.session.settings == Settings()


def test_one_answer_is_given_under_the_settings_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.command_line import write_model_files
    from tui.cli import main

    monkeypatch.setenv("LORA_TUI_HOME", str(tmp_path))
    assert main(["create", "tiny", "-f", str(write_model_files(tmp_path))]) == 0
    engine = ScriptedEngine([["Yes."]], form="fused", is_approximate=True)
    monkeypatch.setattr("tui.commands.run.run.new_engine", lambda: engine)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115  # closed with the process
    written(tmp_path, 'fuse = "sometimes"')
    capsys.readouterr()
    assert main(["run", "tiny", "Hi"]) == 2
    assert 'settings.toml: fuse is "sometimes"' in capsys.readouterr().err
    assert engine.prompts == []
    written(tmp_path, 'fuse = "always"')
    assert main(["run", "tiny", "Hi", "--json", "--verbose"]) == 0
    printed = capsys.readouterr()
    stats = msgspec.json.decode(printed.out)["stats"]
    assert (stats["form"], stats["is_approximate"]) == ("fused", True)
    assert " (fused)" in printed.err.splitlines()[-9]
    assert engine.settings[-1].fuse == "always"
    assert engine.settings[-1].cache_folder == str(tmp_path / "cache")
