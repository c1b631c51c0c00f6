"""What the client of the Hugging Face Hub raises, in one sentence for the person at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import HubError


@contextmanager
def explained(repo: str, done: str = "downloaded") -> Iterator[None]:
    """Turn what the client raises about `repo`, `hf.co/user/repo`, into one sentence.

    `done` is what could not be done with it. Raises `HubError`.
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
        raise HubError(
            f"The Hugging Face Hub answered {code} for {repo}: try again later."
        ) from error
    except no_network() as error:
        raise HubError(_unreachable(repo)) from error
    except (OSError, ValueError) as error:
        # A full disk, a download of the wrong size, an answer that is no JSON.
        first_line = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise HubError(f"{repo} could not be {done}: {first_line}.") from error


def _unreachable(repo: str) -> str:
    return (
        f"{repo} is not in the cache, and the Hugging Face Hub cannot be reached: check the "
        "network, or give the path of a GGUF file."
    )


def no_network() -> tuple[type[Exception], ...]:
    """Return what the client raises when nobody answers.

    Its library for HTTP differs between its versions, and is known to all of them by this name.
    """
    from huggingface_hub import errors

    http_error: type[Exception] = vars(errors)["HTTPError"]
    return errors.OfflineModeIsEnabled, ConnectionError, TimeoutError, http_error
