"""Let other machines that run llama.cpp's `rpc-server` compute layers."""

from __future__ import annotations

import ctypes
import socket
import threading
from collections.abc import Sequence
from typing import Any

from engine.errors import BaseError
from engine.llama.backends import Backends, Device, DeviceKind

CONNECT_TIMEOUT_S = 3.0
ANSWER_TIMEOUT_S = 10.0
_RPC = "RPC"


def use_hosts(hosts: Sequence[str], backends: Backends | None = None) -> Any:
    """Make the next base that is loaded use exactly these machines, each `host:port`.

    ggml cannot remove a machine once added, and llama.cpp uses every machine known. So if an
    earlier base used a machine that is not in `hosts`, return an array of the devices to use, for
    `llama_model_params.devices`; else None, which leaves the choice of devices to llama.cpp.

    Raises:
        BaseError: This build lacks RPC, or a machine does not answer or offers no device.
    """
    backends = Backends() if backends is None else backends
    rpc = backends.find(_RPC)
    if rpc is None:
        if hosts:
            raise BaseError(
                f"rpc_hosts {','.join(hosts)} cannot be used: this llama.cpp was built without RPC."
                ' Install one with it: CMAKE_ARGS="-DGGML_RPC=on" pip install --force-reinstall'
                " --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
            )
        return None
    known = {device.description for device in backends.devices() if device.backend == _RPC}
    for host in hosts:
        if host in known:
            continue
        _require_answer(host)
        if not _is_added(backends, rpc, host):
            raise BaseError(f"The RPC host {host} offers no device to compute on.")
    if known <= set(hosts):
        return None
    return _array(_chosen(backends.devices(), hosts))


def _require_answer(host: str) -> None:
    """Connect once with a timeout; raises `BaseError` if that fails.

    ggml would abort the process if it cannot connect, and wait without limit. IPv4 only, like ggml.
    """
    name, _, port = host.rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(CONNECT_TIMEOUT_S)
            probe.connect((name, int(port)))
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaseError(
            f"The RPC host {host} does not answer ({reason}): start llama.cpp's rpc-server there,"
            " or correct rpc_hosts."
        ) from error


def _is_added(backends: Backends, rpc: int, host: str) -> bool:
    """Add a machine, in a thread, since ggml waits for its answer without limit.

    Returns False if it offers no device; raises `BaseError` after `ANSWER_TIMEOUT_S`.
    """
    results: list[bool] = []
    thread = threading.Thread(
        target=lambda: results.append(backends.add_rpc_host(rpc, host)), name="RPC", daemon=True
    )
    thread.start()
    thread.join(ANSWER_TIMEOUT_S)
    if not results:
        raise BaseError(
            f"The RPC host {host} accepts connections and says nothing: no rpc-server listens"
            " there, or it serves another program, and it serves one at a time."
        )
    return results[0]


def _chosen(devices: Sequence[Device], hosts: Sequence[str]) -> list[Device]:
    """Return the devices that llama.cpp would choose if it knew no machines except `hosts`."""
    remote = [d for d in devices if d.backend == _RPC and d.description in hosts]
    local = [d for d in devices if d.backend != _RPC]
    gpus = [d for d in local if d.kind is DeviceKind.GPU]
    return [*remote, *(gpus or [d for d in local if d.kind is DeviceKind.IGPU][:1])]


def _array(devices: Sequence[Device]) -> Any:
    """Return the addresses as a NULL-terminated C array."""
    return (ctypes.c_void_p * (len(devices) + 1))(*[device.address for device in devices])
