"""Other machines are added once each, and only those asked for compute."""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Iterator

import pytest

from engine.errors import BaseError
from engine.llama import rpc
from engine.llama.backends import Backends, Device, DeviceKind
from engine.llama.rpc import use_hosts
from engine.runtime.runtime import Runtime
from tests.engine.conftest import Tiny

RPC_BACKEND = 7
PROCESSOR = Device(1, DeviceKind.CPU, "CPU", "a processor")
GPU = Device(2, DeviceKind.GPU, "CUDA", "a card")
IGPU = Device(3, DeviceKind.IGPU, "Vulkan", "a small card")


class FakeBackends(Backends):
    """ggml's registry with an RPC backend, where each machine offers one device or none."""

    def __init__(self, *local: Device, is_empty: bool = False) -> None:
        self.known = [PROCESSOR, *local]
        self.added: list[tuple[int, str]] = []
        self._is_empty = is_empty

    def find(self, name: str) -> int | None:
        return RPC_BACKEND if name == "RPC" else None

    def add_rpc_host(self, backend: int, host: str) -> bool:
        self.added.append((backend, host))
        if not self._is_empty:
            self.known.append(Device(100 + len(self.added), DeviceKind.GPU, "RPC", host))
        return not self._is_empty

    def devices(self) -> tuple[Device, ...]:
        return tuple(self.known)


@pytest.fixture
def listening() -> Iterator[list[str]]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


def addresses(array: ctypes.Array[ctypes.c_void_p]) -> list[int | None]:
    return [getattr(item, "value", item) for item in array]


def test_a_build_without_rpc_says_how_to_get_it(tiny: Tiny) -> None:
    with pytest.raises(BaseError, match=r"10\.0\.0\.2:50052 .* without RPC.*-DGGML_RPC=on"):
        Runtime(tiny.spec(rpc_hosts="10.0.0.2:50052"))


def test_no_hosts_need_no_rpc(tiny: Tiny) -> None:
    assert use_hosts(()) is None
    with Runtime(tiny.spec(rpc_hosts="none")) as runtime:
        assert runtime.info.n_ctx == 512


def test_a_machine_is_added_once_in_a_process(listening: list[str]) -> None:
    backends = FakeBackends()
    assert use_hosts(listening, backends) is None
    assert use_hosts(listening, backends) is None
    assert backends.added == [(RPC_BACKEND, host) for host in listening]


def test_a_machine_that_does_not_answer_is_refused_before_ggml_sees_it(closed_port: str) -> None:
    backends = FakeBackends()
    with pytest.raises(BaseError, match=f"{closed_port} does not answer .*rpc-server"):
        use_hosts([closed_port], backends)
    assert backends.added == []


def test_a_name_that_is_no_machine_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_arguments: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(rpc.socket.socket, "connect", unknown)
    with pytest.raises(BaseError, match=r"nowhere:50052 does not answer \(Name or service"):
        use_hosts(["nowhere:50052"], FakeBackends())


def test_a_machine_without_a_device_is_refused(listening: list[str]) -> None:
    with pytest.raises(BaseError, match="offers no device"):
        use_hosts(listening[:1], FakeBackends(is_empty=True))


def test_a_machine_that_accepts_and_says_nothing_is_refused(
    listening: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    class Silent(FakeBackends):
        def add_rpc_host(self, backend: int, host: str) -> bool:
            return not is_over.wait()

    monkeypatch.setattr(rpc, "ANSWER_TIMEOUT_S", 0.01)
    try:
        with pytest.raises(BaseError, match=f"{listening[0]} accepts connections and says nothing"):
            use_hosts(listening, Silent())
    finally:
        is_over.set()


def test_a_machine_of_an_earlier_base_is_left_out(listening: list[str]) -> None:
    first, second = listening
    backends = FakeBackends(GPU, IGPU)
    use_hosts([first], backends)
    chosen = use_hosts([second], backends)
    assert addresses(chosen) == [102, GPU.address, None], "the machine, the card and the end"
    assert addresses(use_hosts((), backends)) == [GPU.address, None]


def test_a_small_card_serves_where_there_is_no_other(listening: list[str]) -> None:
    backends = FakeBackends(IGPU)
    use_hosts(listening, backends)
    assert addresses(use_hosts((), backends)) == [IGPU.address, None]


def test_the_devices_of_this_machine_can_be_read() -> None:
    backends = Backends()
    assert backends.find("CPU")
    assert backends.find("No such backend") is None
    assert DeviceKind.CPU in [device.kind for device in backends.devices()]
    assert all(device.backend and device.description for device in backends.devices())
