"""Call functions of ggml-backend.h that the low-level bindings lack: devices, RPC, buffers."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from engine.llama.library import library


class DeviceKind(IntEnum):
    """Kind of a device (ggml_backend_dev_type of ggml-backend.h)."""

    CPU = 0
    GPU = 1
    IGPU = 2
    ACCEL = 3
    META = 4


@dataclass(frozen=True, slots=True)
class Device:
    """A device known to ggml."""

    address: int
    kind: DeviceKind
    backend: str
    """Name of its backend; `RPC` for another machine."""
    description: str
    """ggml's description; for another machine, the `host:port` it was added with."""

    @property
    def is_gpu(self) -> bool:
        """Whether llama.cpp may put layers on it; another machine counts as one."""
        return self.kind in (DeviceKind.GPU, DeviceKind.IGPU)


class Backends:
    """The backends and devices of this process, which ggml keeps until the process ends."""

    def find(self, name: str) -> int | None:
        """Return the address of a backend; None if this build lacks it."""
        address: int | None = _call("ggml_backend_reg_by_name", name.encode())
        return address

    def add_rpc_host(self, backend: int, host: str) -> bool:
        """Add the devices of another machine; return False if it has none.

        ggml ends the process if the machine does not answer.
        """
        name = b"ggml_backend_rpc_add_server"
        function = _call("ggml_backend_reg_get_proc_address", ctypes.c_void_p(backend), name)
        if not function:
            return False
        added = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(function)(host.encode())
        if not added:
            return False
        _call("ggml_backend_register", ctypes.c_void_p(added), returns=None)
        return True

    def devices(self) -> tuple[Device, ...]:
        """Return the devices in the order they were added."""
        n = _call("ggml_backend_dev_count", returns=ctypes.c_size_t)
        return tuple(_device(_call("ggml_backend_dev_get", ctypes.c_size_t(i))) for i in range(n))


def leave_out_amx() -> None:
    """Keep AMX from being used for bases loaded from here on; may be called repeatedly.

    llama.cpp prefers AMX to its repacked weights wherever the processor reports it, and its switch
    (`use_extra_bufts`) turns off both. Without repacked weights a Q4_0 base of 1B decodes at a
    third of the speed, so only AMX is removed from llama.cpp's list of buffer types.
    """
    types, addresses = _extra_buffers()
    kept = [address for address in addresses if _buffer_name(address) != "AMX"]
    for i in range(len(addresses)):
        types[i] = kept[i] if i < len(kept) else None


def extra_buffer_names() -> list[str]:
    """Return the names of the CPU's extra buffer types, which hold weights in special layouts."""
    return [_buffer_name(address) for address in _extra_buffers()[1]]


def _extra_buffers() -> tuple[Any, list[int]]:
    """Return the NULL-terminated C list of the CPU's extra buffer types, and its addresses."""
    cpu = ctypes.c_void_p(_call("ggml_backend_dev_by_type", ctypes.c_int(DeviceKind.CPU)))
    backend = ctypes.c_void_p(_call("ggml_backend_dev_backend_reg", cpu))
    name = b"ggml_backend_dev_get_extra_bufts"
    function = _call("ggml_backend_reg_get_proc_address", backend, name)
    if not function:
        return None, []
    returned = ctypes.POINTER(ctypes.c_void_p)
    types = ctypes.CFUNCTYPE(returned, ctypes.c_void_p)(function)(cpu)
    addresses: list[int] = []
    while (address := types[len(addresses)]) is not None:
        addresses.append(address)
    return types, addresses


def _buffer_name(address: int) -> str:
    name = _call("ggml_backend_buft_name", ctypes.c_void_p(address), returns=ctypes.c_char_p)
    return str(name.decode("utf-8", "replace"))


def _device(address: int) -> Device:
    device = ctypes.c_void_p(address)
    backend = ctypes.c_void_p(_call("ggml_backend_dev_backend_reg", device))
    name = _call("ggml_backend_reg_name", backend, returns=ctypes.c_char_p)
    description = _call("ggml_backend_dev_description", device, returns=ctypes.c_char_p)
    return Device(
        address,
        DeviceKind(_call("ggml_backend_dev_type", device, returns=ctypes.c_int)),
        name.decode("utf-8", "replace"),
        description.decode("utf-8", "replace"),
    )


def _call(name: str, *arguments: Any, returns: Any = ctypes.c_void_p) -> Any:
    """Call a ggml function by name; arguments are ctypes values or bytes."""
    types = [ctypes.c_char_p if isinstance(a, bytes) else type(a) for a in arguments]
    return ctypes.CFUNCTYPE(returns, *types)((name, library))(*arguments)
