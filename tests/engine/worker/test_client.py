"""The client talks to a real worker process and survives its death."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from engine.adapters.read import read_adapter
from engine.errors import AdapterError, BaseError, GenerationError, GgufError, WorkerError
from engine.gguf.model_header import require_base
from engine.hub.search.base_names import identity_of
from engine.protocol.chat_request import ChatRequest
from engine.protocol.events import Finished, PromptProgress, Tokens
from engine.protocol.settings import EngineSettings
from engine.protocol.values import BaseReference, ChatMessage, LoadSpec
from engine.stack import AdapterStack, stack_of
from engine.worker.client import EngineClient
from modelfiles.parameters import Parameters
from tests.engine.conftest import Tiny
from tests.support.hub_shelf import write_named_base
from tests.support.tiny_models import write_base

ASK = (ChatMessage("user", "Tell me something."),)
GREEDY = Parameters(temperature=0.0, num_predict=24)
ENDLESS = Parameters(temperature=0.0)


@asynccontextmanager
async def opened(tiny: Tiny, **parameters: object) -> AsyncIterator[EngineClient]:
    client = EngineClient()
    try:
        await client.load(tiny.spec(**parameters))
        yield client
    finally:
        await client.close()


async def answer(
    client: EngineClient,
    parameters: Parameters = GREEDY,
    messages: tuple[ChatMessage, ...] = ASK,
) -> Finished:
    events = [event async for event in client.generate(ChatRequest(messages, parameters))]
    last = events[-1]
    assert isinstance(last, Finished)
    assert "".join(e.text for e in events if isinstance(e, Tokens)) == last.text
    return last


async def test_load_reports_progress_and_what_the_base_is(tiny: Tiny) -> None:
    client = EngineClient()
    fractions: list[float] = []
    info = await client.load(tiny.spec(), fractions.append)
    await client.close()
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    facts = info.facts
    assert (facts.name, facts.architecture, info.n_ctx) == ("Tiny", "llama", 512)
    assert facts.chat_template
    assert facts.n_params > 0
    assert info.description == "llama 108K F32"


async def test_a_stack_changes_the_answer_and_an_empty_one_restores_it(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        plain = await answer(client)
        stack = stack_of([(tiny.first, 1.0)])
        applied = await client.set_stack(stack)
        assert applied.digest == stack.digest
        adapted = await answer(client)
        await client.set_stack(AdapterStack())
        assert (await answer(client)).text == plain.text != adapted.text


async def test_a_template_travels_to_the_worker(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        plain = await answer(client)
        template = "{{ range .Messages }}{{ .Content }}{{ end }}"
        events = [event async for event in client.generate(ChatRequest(ASK, GREEDY, template))]
        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.stats.n_prompt < plain.stats.n_prompt
        events = [event async for event in client.generate(ChatRequest(ASK, GREEDY, "{{ shout }}"))]
        finished = events[-1]
        assert isinstance(finished, Finished)
        assert finished.reason == "failed"
        assert 'function "shout" not defined' in finished.error


async def test_thoughts_travel_apart_from_the_answer(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        template = "{{ .Prompt }}<think>"
        events = [
            event async for event in client.generate(ChatRequest(ASK, GREEDY, template, True))
        ]
        finished = events[-1]
        assert isinstance(finished, Finished)
        thinking = "".join(e.thinking for e in events if isinstance(e, Tokens))
        assert thinking == finished.thinking != ""
        assert finished.text == ""


async def test_prompt_progress_counts_up_to_the_prompt(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        long = (ChatMessage("user", "word " * 80),)
        events = [event async for event in client.generate(ChatRequest(long, GREEDY))]
    progress = [event for event in events if isinstance(event, PromptProgress)]
    done = [event.n_done for event in progress]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == progress[-1].n_total > 128


async def test_cancel_stops_an_answer_and_keeps_its_text(tiny: Tiny) -> None:
    async with opened(tiny, num_ctx=32768) as client:
        last = None
        async for event in client.generate(ChatRequest(ASK, ENDLESS)):
            last = event
            if isinstance(event, Tokens):
                await client.cancel()
        assert isinstance(last, Finished)
        assert last.reason == "cancelled"
        assert last.text
        assert last.stats.n_context < last.stats.n_ctx
        assert (await answer(client)).reason == "length"


async def test_leaving_an_answer_early_stops_the_worker(tiny: Tiny) -> None:
    async with opened(tiny, num_ctx=32768) as client:
        events = client.generate(ChatRequest(ASK, ENDLESS))
        async for event in events:
            if isinstance(event, Tokens):
                break
        await events.aclose()
        # Waits behind the answer that was left; would time out if that went on to 32,768 tokens.
        assert (await answer(client)).reason == "length"


async def test_a_killed_worker_costs_one_sentence_and_the_next_turn_works(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    async with opened(tiny, num_ctx=32768) as client:
        await client.set_stack(stack)
        before = await answer(client)
        killed = client.worker_pid
        assert killed is not None
        text, last = "", None
        async for event in client.generate(ChatRequest(ASK, ENDLESS)):
            last = event
            if isinstance(event, Tokens):
                if not text:
                    os.kill(killed, signal.SIGKILL)
                text += event.text
        assert isinstance(last, Finished)
        assert last.reason == "failed"
        assert last.text == text != ""
        assert "SIGKILL" in last.error
        after = await answer(client)
        assert after.text == before.text, "the base and the stack are as they were"
        assert client.worker_pid not in (None, killed)


async def killed(client: EngineClient) -> None:
    """Kill the worker and wait until the client knows."""
    assert client.worker_pid is not None
    os.kill(client.worker_pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while client.worker_pid is not None:
            await asyncio.sleep(0.001)


async def test_a_worker_killed_between_turns_is_not_noticed(tiny: Tiny) -> None:
    stack = stack_of([(tiny.first, 1.0)])
    async with opened(tiny) as client:
        await client.set_stack(stack)
        before = await answer(client)
        await killed(client)
        assert (await answer(client)).text == before.text


async def test_a_base_refused_by_a_new_worker_leaves_the_one_before(
    tiny: Tiny, tmp_path: Path
) -> None:
    async with opened(tiny) as client:
        before = await answer(client)
        await killed(client)
        with pytest.raises(GgufError):
            await client.load(LoadSpec(BaseReference(str(tmp_path / "missing.gguf"))))
        assert (await answer(client)).text == before.text


async def test_an_adapter_that_a_new_worker_misses_is_never_left_out_silently(
    tiny: Tiny, tmp_path: Path
) -> None:
    lost = tmp_path / "lost.gguf"
    shutil.copy(tiny.first.file, lost)
    stack = stack_of([(read_adapter(lost), 1.0)])
    async with opened(tiny) as client:
        plain = await answer(client)
        await client.set_stack(stack)
        lost.unlink()
        assert (await answer(client)).text != plain.text, "what is loaded needs its file no more"
        await killed(client)
        for _ in range(2):
            failed = await answer(client)
            assert failed.reason == "failed"
            assert "lost.gguf" in failed.error
        await client.set_stack(AdapterStack())
        assert (await answer(client)).text == plain.text


async def test_a_file_replaced_since_it_was_read_never_answers_under_its_old_name(
    tiny: Tiny, tmp_path: Path
) -> None:
    file = tmp_path / "style.gguf"
    shutil.copy(tiny.first.file, file)
    stack = stack_of([(read_adapter(file), 1.0)])
    shutil.copy(tiny.second.file, file)
    async with opened(tiny) as client:
        with pytest.raises(AdapterError, match=r"style\.gguf has changed"):
            await client.set_stack(stack)
        await client.set_stack(stack_of([(read_adapter(file), 1.0)]))


async def test_a_refused_adapter_leaves_the_stack_in_force(tiny: Tiny, tmp_path: Path) -> None:
    missing = msgspec.structs.replace(
        tiny.second, name="gone", path=str(tmp_path / "gone.gguf"), sha256="0" * 64
    )
    async with opened(tiny) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
        before = await answer(client)
        with pytest.raises(GgufError, match=r"gone\.gguf"):
            await client.set_stack(stack_of([(tiny.first, 0.2), (missing, 1.0)]))
        assert (await answer(client)).text == before.text


async def test_a_refused_base_leaves_the_loaded_one(tiny: Tiny, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + bytes(range(200)))
    async with opened(tiny) as client:
        before = await answer(client)
        for path in (garbage, tmp_path / "missing.gguf", tiny.first.file):
            with pytest.raises((BaseError, GgufError), match=path.name):
                await client.load(LoadSpec(BaseReference(str(path))))
        assert (await answer(client)).text == before.text


async def test_whoever_knows_why_a_base_is_refused_adds_a_clause(tiny: Tiny) -> None:
    refused: list[BaseReference] = []

    def why_refused(base: BaseReference) -> str:
        refused.append(base)
        return "" if base.name else "it needs another program"

    client = EngineClient(why_refused=why_refused)
    adapter = tiny.first.path
    with pytest.raises(BaseError, match="name the base it was trained on: it needs another pro"):
        await client.load(LoadSpec(BaseReference(adapter)))
    with pytest.raises(BaseError, match=r"name the base it was trained on\.$"):
        await client.load(LoadSpec(BaseReference(adapter, "mine")))
    await client.close()
    assert refused == [BaseReference(adapter), BaseReference(adapter, "mine")]


async def test_a_base_without_a_name_of_its_own_has_that_of_its_reference(tmp_path: Path) -> None:
    named, nameless = tmp_path / "named.gguf", tmp_path / "nameless.gguf"
    write_base(named)
    nameless.write_bytes(named.read_bytes().replace(b"general.name", b"general.nome"))
    client = EngineClient()
    names = []
    for path, name in ((named, "mine"), (nameless, "mine"), (nameless, "")):
        info = await client.load(LoadSpec(BaseReference(str(path), name)))
        names.append(info.facts.name)
    await client.close()
    assert names == ["Tiny", "mine", "nameless"]


async def test_load_tells_the_names_of_the_base_on_the_hub(tmp_path: Path) -> None:
    write_named_base(tmp_path / "base.gguf")
    client = EngineClient()
    info = await client.load(LoadSpec(BaseReference(str(tmp_path / "base.gguf"))))
    await client.close()
    assert info.repositories == identity_of(require_base(tmp_path / "base.gguf")).repositories
    assert info.repositories


async def test_a_path_that_is_not_unicode_is_one_sentence(tiny: Tiny, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.gguf"))
    path.write_bytes(tiny.base.read_bytes())
    async with opened(tiny) as client:
        with pytest.raises(WorkerError, match="UTF-8"):
            await client.load(LoadSpec(BaseReference(str(path))))
        assert (await answer(client)).reason == "length"


async def test_nothing_loaded_is_one_sentence(tiny: Tiny) -> None:
    client = EngineClient()
    failed = await answer(client)
    with pytest.raises(GenerationError, match="No base"):
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
    await client.close()
    assert (failed.reason, failed.text) == ("failed", "")
    assert "No base" in failed.error


async def test_the_worker_ends_with_its_parent(tiny: Tiny) -> None:
    """A parent that is killed cannot close anything; its pipes close by themselves."""
    program = (
        "import asyncio, os, signal, sys\n"
        "from engine.worker.process import WorkerProcess\n"
        "async def main():\n"
        "    worker = await WorkerProcess.start()\n"
        "    print(worker.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    await parent.wait()
    descriptor = os.pidfd_open(pid) if Path(f"/proc/{pid}").exists() else None
    if descriptor is not None:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, ended.set)
        async with asyncio.timeout(60):
            await ended.wait()
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_a_folder_called_engine_does_not_stand_in_for_ours(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('the wrong engine')")
    monkeypatch.chdir(tmp_path)
    async with opened(tiny) as client:
        assert (await answer(client)).reason == "length"


async def test_the_workers_messages_reach_the_log(tiny: Tiny, tmp_path: Path) -> None:
    log_path = tmp_path / "worker.log"
    client = EngineClient(log_path=log_path)
    no_folder = tmp_path / "file"
    no_folder.touch()
    await client.configure(EngineSettings(cache_folder=str(no_folder)))
    await client.load(tiny.spec())
    applied = await client.set_stack(stack_of([(tiny.first, 1.0), (tiny.second, 1.0)]))
    await client.close()
    assert applied.form == "layered"
    assert "a stack cannot be fused" in log_path.read_text()


async def test_of_two_settings_given_at_once_the_later_one_counts(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        await asyncio.gather(
            client.configure(EngineSettings(fuse="never")),
            client.configure(EngineSettings(fuse="always")),
        )
        applied = await client.set_stack(stack_of([(tiny.first, 1.0), (tiny.second, 1.0)]))
        assert applied.form == "fused"


async def given_up(change: asyncio.Task[object]) -> None:
    """Cancel a call after it has sent its request."""
    await asyncio.sleep(0)
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change


@pytest.mark.parametrize("has_adapter", [True, False])
async def test_a_change_that_is_given_up_leaves_the_stack_before_in_force(
    tiny: Tiny, has_adapter: bool
) -> None:
    async with opened(tiny) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0)] * has_adapter))
        before = await answer(client)
        other = stack_of([(tiny.second, 1.0)])
        await given_up(asyncio.create_task(client.set_stack(other)))
        assert (await answer(client)).text == before.text


async def test_a_load_that_is_given_up_leaves_the_base_and_its_stack(tiny: Tiny) -> None:
    async with opened(tiny) as client:
        await client.set_stack(stack_of([(tiny.first, 1.0)]))
        before = await answer(client)
        await given_up(asyncio.create_task(client.load(tiny.spec(num_ctx=256))))
        after = await answer(client)
        assert (after.text, after.stats.n_ctx) == (before.text, before.stats.n_ctx)
