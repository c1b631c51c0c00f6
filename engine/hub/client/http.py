"""Send requests to the Hugging Face Hub through its client, with its token and proxies."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from engine.errors import HubError
from engine.hub.client.errors import no_network

MAX_BYTES: Final = 64 * 2**20
"""Most bytes read of an answer: the description of a repository of 10,000 files takes 3 MB."""
_TIMEOUT_S: Final = 15.0
_MAX_RETRIES: Final = 2
"""After 1 and 2 s; the client's five retries would take 23 s without a network."""
_MAX_PATIENCE_S: Final = 10
"""Longest Retry-After that is obeyed; the client itself would wait silently for hours."""
_PASSING: Final = (429, 500, 502, 503, 504)
"""Statuses worth a retry: too many requests, and server errors."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the Hub, whole or cut to its beginning."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    next_page: str | None = None
    """URL of the next page, if the answer is one page of several."""

    def json(self) -> Any:
        """Return the content parsed as JSON; raises `ValueError` if it is invalid or too deep."""
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
    """Send a GET, following redirects, and return the successful answer.

    Statuses 429 and 5xx and broken connections are retried. The token is sent to the Hub only,
    whatever `address` is. Of an answer over `max_bytes` the beginning is returned with `is_cut`;
    without, it is an error. Raises `HubError`, and what the client raises, for
    `hub.client.errors.explained`.
    """
    from huggingface_hub import errors, utils

    quieten()
    client: Any = utils  # these functions are documented, but not in __all__
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
                    # If a broken connection left this block, the client would retry it, but its
                    # generator cannot yield a second response.
                    try:
                        _require_success(response)
                        return _read(response, max_bytes, is_cut=is_cut)
                    except errors.HfHubHTTPError:
                        raise
                    except no_network() as error:
                        broken = error
        except (AttributeError, RuntimeError) as error:
            # A thread that cannot connect closes the session the client shares between threads;
            # the others then find None or a closed session in its place.
            broken = ConnectionError("the client closed its session")
            broken.__cause__ = error
        if patience_s is not None:
            time.sleep(patience_s)
    assert broken is not None
    raise broken


def quieten() -> None:
    """Keep the client's warnings off stderr: errors are reported in one sentence instead."""
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # as the client is


@contextmanager
def silenced() -> Iterator[None]:
    """Keep the client from writing progress bars, hints and warnings to the terminal."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    verbosity, had_bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # This call warns if an environment variable controls the bars.
        disable_progress_bars()
        try:
            yield
        finally:
            if had_bars:
                enable_progress_bars()
            logging.set_verbosity(verbosity)


def _token_for(address: str) -> bool | None:
    """Return the client's `token` argument: None (its usual token) for the Hub, else False."""
    from huggingface_hub import constants

    there, hub = urlsplit(address), urlsplit(constants.ENDPOINT)
    return None if (there.scheme, there.netloc) == (hub.scheme, hub.netloc) else False


def _patience_s(response: Any, usual_s: int) -> int | None:
    """Return the seconds to wait before a retry; None if the status is not worth one."""
    if response.status_code not in _PASSING:
        return None
    asked = response.headers.get("Retry-After", "")
    return int(asked) if asked.isdecimal() and asked.isascii() else usual_s


def _require_success(response: Any) -> None:
    from huggingface_hub import utils

    client: Any = utils
    try:
        client.hf_raise_for_status(response)
    except (AttributeError, TypeError, RecursionError) as error:  # an error with unexpected JSON
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
