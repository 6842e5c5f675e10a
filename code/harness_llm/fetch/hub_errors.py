"""What the Hugging Face hub's client raises, told as one line and a remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from harness_llm.errors import ConfigError, HarnessError, HostError, ModelError
from harness_llm.fetch.disk import disk_errors

TOKEN_VARIABLE = "HUGGINGFACE_ACCESS_TOKEN"
SAME_AGAIN = "Run the same command again; it continues where it stopped."
_REACH = f"Check the network (proxy, HF_ENDPOINT). {SAME_AGAIN}"


@contextlib.contextmanager
def explained(repository: str, revision: str, folder: Path, *, has_token: bool) -> Iterator[None]:
    """Turn what the hub's client raises into one of our errors, each with what to do.

    Args:
        repository: `owner/name` on the hub.
        revision: What was asked for.
        folder: Where it goes.
        has_token: Whether the user gave an access token.

    Raises:
        ConfigError: The token is wrong.
        ModelError: The repository is gated for this user, or it or its revision does not exist.
        HostError: The network, the hub or the disk failed.
    """
    import httpx2
    from huggingface_hub import errors

    try:
        with disk_errors(folder):
            yield
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise _answer(repository, revision, error, has_token) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{repository!r} is not the name of a hub repository: {error}") from error
    except (httpx2.HTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HostError(f"{repository}: the connection to the hub failed: {reason}", _REACH) from error


def _answer(repository: str, revision: str, error: OSError, has_token: bool) -> HarnessError:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(
        error.__cause__, errors.HfHubHTTPError
    ):
        error = error.__cause__
    if not isinstance(error, errors.HfHubHTTPError):
        return HostError(f"{repository}: the hub cannot be reached", _REACH)
    status = error.response.status_code
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(f"{repository} has no revision {revision}")
    is_gated = isinstance(error, errors.GatedRepoError) or status == 403
    if is_gated and has_token and status != 401:
        return ModelError(
            f"{repository} is gated, and this token's owner has no access yet ({status})",
            "Ask for access on the model's page, and use a token that may read gated repositories.",
        )
    if status == 401 and has_token:
        return ConfigError(
            f"{TOKEN_VARIABLE}: the hub does not accept this token ({status})", "Make a new one there."
        )
    if is_gated or status == 401:
        return ModelError(
            f"{repository} is gated, or does not exist ({status})",
            f"Ask for access on the model's page, then set {TOKEN_VARIABLE} to your access token.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelError(f"{repository} does not exist, or is not public ({status})", "Check the name.")
    if status == 429:
        wait = error.response.headers.get("Retry-After", "some")
        return HostError(
            f"{repository}: the hub answers 429, too many requests", f"Wait {wait} s. {SAME_AGAIN}"
        )
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # then it answers the same again
        return ModelError(
            f"{repository}: the hub answers {status} for a file of revision {revision}",
            "Check the name, --revision and the hub (--endpoint, HF_ENDPOINT).",
        )
    return HostError(f"{repository}: the hub answers {status}", SAME_AGAIN)
