"""Turn exceptions of the Hugging Face Hub's client into one sentence for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.errors import HubError


@contextmanager
def explained(repo: str, done: str = "downloaded") -> Iterator[None]:
    """Turn the client's exceptions about `repo` (`hf.co/user/repo`) into a `HubError`.

    `done` is the participle for "could not be ...".
    """
    from huggingface_hub import errors

    page = repo.replace("hf.co/", "https://huggingface.co/", 1)
    try:
        yield
    except HubError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(
            f"{repo} is gated: accept its conditions at {page}, "
            "then set HF_TOKEN or run 'hf auth login'."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{repo} does not exist or is private: check the name, and for a private one set "
            "HF_TOKEN or run 'hf auth login'."
        ) from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise HubError(_unreachable(repo)) from error
        raise HubError(f"A file of {repo} has gone meanwhile: try again.") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(
            f"{repo} is not in the cache, and HF_HUB_OFFLINE forbids to download it: unset that "
            "variable, or give the path of a GGUF file."
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else "an error"
        refusal = _REFUSALS.get(code)
        raise HubError(
            f"The Hugging Face Hub refuses {refusal.format(repo=repo)}."
            if refusal is not None
            else f"The Hugging Face Hub answered {code} for {repo}: try again later."
        ) from error
    except no_network() as error:
        raise HubError(_unreachable(repo)) from error
    except (OSError, ValueError) as error:
        # A full disk, a download of the wrong size, an answer that is not JSON.
        first_line = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise HubError(f"{repo} could not be {done}: {first_line}.") from error


@contextmanager
def search_explained() -> Iterator[None]:
    """Turn the client's exceptions during a search into a `HubError`."""
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise HubError(
            "HF_HUB_OFFLINE forbids to search: unset that variable; 'tui list --adapters' shows "
            "what is on this machine."
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code if error.response is not None else None
        raise HubError(_SEARCH_ANSWERS.get(code or 0, _search_failed(code))) from error
    except no_network() as error:
        raise HubError(
            "The Hugging Face Hub cannot be reached: check the network; 'tui list --adapters' "
            "shows what is on this machine."
        ) from error
    except ValueError as error:  # HTML or an empty body instead of JSON
        raise HubError(
            "The Hugging Face Hub answered the search with something that is no list: try again "
            "later, and check HF_ENDPOINT where it is set."
        ) from error


_REFUSALS: Final[dict[int | str, str]] = {
    401: "the token for {repo}: run 'hf auth login' again, or unset HF_TOKEN",
    403: "{repo}: check that the token may read it, and that it is still shared",
}
_SEARCH_ANSWERS: Final = {
    401: "The Hugging Face Hub refuses the token: run 'hf auth login' again, or unset HF_TOKEN.",
    429: "The Hugging Face Hub has had too many requests from here: wait a minute and try again.",
}


def _search_failed(code: int | None) -> str:
    return f"The Hugging Face Hub answered {code or 'an error'} to the search: try again later."


def _unreachable(repo: str) -> str:
    return (
        f"{repo} is not in the cache, and the Hugging Face Hub cannot be reached: check the "
        "network, or give the path of a GGUF file."
    )


def is_unreachable(error: HubError) -> bool:
    """Return whether the Hub is out of reach now, so that local files may serve instead.

    True for no network, HF_HUB_OFFLINE, server errors (5xx) and 429; false for refusals.
    """
    from huggingface_hub import errors

    cause = error.__cause__
    if isinstance(cause, errors.HfHubHTTPError) and cause.response is not None:
        code: int = cause.response.status_code
        return code >= 500 or code == 429
    return isinstance(cause, no_network())


def no_network() -> tuple[type[Exception], ...]:
    """Return the exception types the client raises when it gets no answer.

    The HTTP library differs between client versions; all of them export its base error as
    `HTTPError`.
    """
    from huggingface_hub import errors

    http_error: type[Exception] = vars(errors)["HTTPError"]
    return errors.OfflineModeIsEnabled, ConnectionError, TimeoutError, http_error
