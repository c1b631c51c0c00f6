"""Turn exceptions during an upload to the Hugging Face Hub into one sentence.

A sentence never contains a token or a signed URL: whatever looks like one is cut out of the
messages quoted from the Hub or the client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.errors import HubError
from engine.hub.client.errors import no_network
from modelfiles.wording import shown

_TOKENS_PAGE: Final = "https://huggingface.co/settings/tokens"
NO_TOKEN: Final = (
    "Publishing needs an account of the Hugging Face Hub, and there is no token: run 'hf auth "
    f"login', or set HF_TOKEN to one with the right to write, from {_TOKENS_PAGE}."
)
_SECRET: Final = re.compile(r"hf_[A-Za-z0-9_]{8,}|Bearer \S+|https?://\S+\?\S+", re.IGNORECASE)


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Turn the client's exceptions about `user/repo` into `HubError`."""
    try:
        yield
    except HubError:
        raise
    except no_network() as error:
        raise HubError(_sentence(error, repo)) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise HubError(_sentence(error, repo)) from error


def _sentence(error: BaseException, repo: str) -> str:
    from huggingface_hub import errors

    name = f"hf.co/{repo}"
    if isinstance(error, RuntimeError) and error.__cause__ is not None:
        # The client wraps errors raised while it sends the content of a file.
        return _sentence(error.__cause__, repo)
    if isinstance(error, errors.LocalTokenNotFoundError):
        return NO_TOKEN
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"HF_HUB_OFFLINE forbids to upload to {name}: unset that variable."
    if isinstance(error, errors.HFValidationError):
        return (
            f"{name} cannot be the name of a repository: use letters, digits, -, _ and . with "
            "none of -- and .. and no .git at its end, at most 96 characters."
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _answer_sentence(error, name)
    if isinstance(error, no_network()):
        return (
            f"The upload to {name} was cut off or the Hugging Face Hub cannot be reached: nothing "
            "of it is visible there; check the network and run the command again."
        )
    reason = _clean(str(error)) or type(error).__name__
    return f"The adapter could not be uploaded to {name}: {reason}."


def _answer_sentence(error: Exception, name: str) -> str:
    from huggingface_hub import errors

    response = getattr(error, "response", None)
    code = response.status_code if response is not None else 0
    said = _clean(getattr(error, "server_message", None) or "")
    more = f" ({said})" if said else ""
    if isinstance(error, errors.RepositoryNotFoundError) or code == 404:
        return (
            f"{name} is not there for this token: check its name, and that the token may write "
            f"to it, at {_TOKENS_PAGE}."
        )
    if code == 401:
        return (
            "The Hugging Face Hub does not accept the token, it is wrong or has expired: make one "
            f"with the right to write at {_TOKENS_PAGE}, then set HF_TOKEN or run 'hf auth login'."
        )
    if code in (402, 413, 507):
        return (
            f"The Hugging Face Hub has no room for this upload to {name}: it answered {code}{more}."
        )
    if code == 403:
        return (
            f"The token may not write to {name}{more}: use one that may, from {_TOKENS_PAGE}, or "
            "push to a repository of your own."
        )
    if code in (409, 412):
        return f"{name} was changed or made by another meanwhile{more}: run the command again."
    if code == 429:
        return f"The Hugging Face Hub has had too many requests: wait, then push to {name} again."
    if 400 <= code < 500:
        return f"The Hugging Face Hub refused the upload to {name} with {code}{more}."
    return (
        f"The Hugging Face Hub answered {code} for {name}: nothing of the upload is visible there; "
        "try again later."
    )


def _clean(text: str) -> str:
    """Return the first non-empty line of a text with apparent tokens and signed URLs removed."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return shown(_SECRET.sub("…", first))[1:-1].rstrip(".") if first else ""
