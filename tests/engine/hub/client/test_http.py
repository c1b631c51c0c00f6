"""Requests hold where the session that the client keeps for all threads is closed by another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub.utils
import pytest

from engine.hub.client.http import get
from tests.support.fake_hub import serving
from tests.support.hub_in_process import point_at

CLOSED = (
    AttributeError("'NoneType' object has no attribute 'stream'"),
    RuntimeError("Cannot send a request, as the client has been closed."),
)


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("n_times", [1, 99])
def test_a_session_closed_by_another_thread_is_a_broken_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: Exception, n_times: int
) -> None:
    stream = huggingface_hub.utils.http_stream_backoff  # type: ignore[attr-defined]  # in no __all__
    n_left = n_times

    def sometimes(*args: Any, **options: Any) -> Any:
        nonlocal n_left
        n_left -= 1
        if n_left >= 0:
            raise closed
        return stream(*args, **options)

    monkeypatch.setattr(huggingface_hub.utils, "http_stream_backoff", sometimes)
    with serving() as hub:
        point_at(hub, tmp_path / "cache", monkeypatch)
        hub.repos["ann/lora"] = {"lora.gguf": b"GGUF"}
        if n_times == 1:
            assert get(f"{hub.url}/api/models/ann/lora").json()["id"] == "ann/lora"
        else:
            with pytest.raises(ConnectionError):
                get(f"{hub.url}/api/models/ann/lora")
