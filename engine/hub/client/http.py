"""Requests to the Hugging Face Hub through its client: its token, its proxies, its retries."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from engine.errors import HubError
from engine.hub.client.errors import no_network

MAX_BYTES: Final = 64 * 2**20
"""The longest answer that is read: what describes a repository of 10,000 files takes 3 MB."""
_TIMEOUT_S: Final = 15.0
_MAX_RETRIES: Final = 2
"""After 1 and 2 s; the client's five would let a person without a network wait for 23 s."""
_MAX_PATIENCE_S: Final = 10
"""What a Hub that has had enough may ask for; the client would wait for hours, and say nothing."""
_PASSING: Final = (429, 500, 502, 503, 504)
"""What may be over in a moment: too many requests, and failures of the server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the Hub answered, all of it or its beginning."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    next_page: str | None = None
    """The address of what follows, where the answer is one page of several."""

    def json(self) -> Any:
        """Return the document; raises `ValueError` where it is none, or nested too deeply."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("the answer is nested too deeply") from None


def get(
    address: str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = MAX_BYTES,
    is_cut: bool = False,
) -> Answer:
    """Return the answer to a GET that is no error, redirects followed.

    What waits for its turn (429) or fails for a moment (5xx, a broken connection) is tried again.
    The token goes to the Hub alone, whatever address it names. An answer of over `max_bytes` is
    read no further: with `is_cut` its beginning is returned, without it is an error.
    Raises `HubError`, and what the client raises, for `engine.hub.client.errors.explained`.
    """
    from huggingface_hub import errors, utils

    quieten()
    client: Any = utils  # these functions are documented, but stand in no __all__
    sent = {**client.build_hf_headers(token=_token_for(address)), **(headers or {})}
    if not sent.get("authorization", "").isascii():
        raise HubError(
            "The token of HF_TOKEN or 'hf auth login' holds characters that no token has: set it "
            "again."
        )
    broken: Exception | None = None
    for n_tried in range(_MAX_RETRIES + 1):
        patience_s = None
        try:
            with client.http_stream_backoff(
                "GET",
                address,
                params=params,
                headers=sent,
                timeout=_TIMEOUT_S,
                max_retries=_MAX_RETRIES,
                retry_on_status_codes=(),
                follow_redirects=True,
            ) as response:
                patience_s = _patience_s(response, 2**n_tried)
                if patience_s is None or n_tried == _MAX_RETRIES or patience_s > _MAX_PATIENCE_S:
                    # A connection that breaks in this block would be the client's to try again,
                    # and it can hand out no second response.
                    try:
                        _require_success(response)
                        return _read(response, max_bytes, is_cut=is_cut)
                    except errors.HfHubHTTPError:
                        raise
                    except no_network() as error:
                        broken = error
        except (AttributeError, RuntimeError) as error:
            # Of several threads one that cannot connect closes the session that the client keeps
            # for all of them, and the others find None or a closed one in its place.
            broken = ConnectionError("the client closed its session")
            broken.__cause__ = error
        if patience_s is not None:
            time.sleep(patience_s)
    assert broken is not None
    raise broken


def quieten() -> None:
    """Keep the client's warnings off stderr: what becomes of a request is said in one sentence."""
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as the client is


def _token_for(address: str) -> bool | None:
    """Return what the client takes for "the usual token", or for "none" to strangers."""
    from huggingface_hub import constants

    there, hub = urlsplit(address), urlsplit(constants.ENDPOINT)
    return None if (there.scheme, there.netloc) == (hub.scheme, hub.netloc) else False


def _patience_s(response: Any, usual_s: int) -> int | None:
    """Return for how long a Hub that fails or has had enough is left alone; None if it answers."""
    if response.status_code not in _PASSING:
        return None
    asked = response.headers.get("Retry-After", "")
    return int(asked) if asked.isdecimal() and asked.isascii() else usual_s


def _require_success(response: Any) -> None:
    from huggingface_hub import utils

    client: Any = utils
    try:
        client.hf_raise_for_status(response)
    except (AttributeError, TypeError, RecursionError) as error:  # an error whose JSON is no object
        raise HubError(
            f"The Hugging Face Hub answered {response.status_code} and nonsense: try again later."
        ) from error


def _read(response: Any, max_bytes: int, *, is_cut: bool) -> Answer:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > max_bytes:
            if is_cut:
                break
            raise HubError(
                f"The Hugging Face Hub answered with over {max_bytes} bytes where a few thousand "
                "are due: try again later, and check HF_ENDPOINT where it is set."
            )
    following = response.links.get("next", {}).get("url")
    return Answer(
        response.status_code,
        response.headers,
        bytes(content[:max_bytes]),
        None if following is None else urljoin(str(response.url), following),
    )
