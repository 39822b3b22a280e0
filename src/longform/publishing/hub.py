"""Upload a release to the Hugging Face hub, in one commit."""

from typing import NamedTuple

from longform.publishing.release import Release
from longform.records.errors import BadInputError, StoppedError


class Published(NamedTuple):
    """Where a release is."""

    address: str
    commit: str


def check_id(to: str) -> None:
    """Check the id of a repository.

    Raises:
        BadInputError: it is not `owner/name`.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(to)
    except HFValidationError as error:
        raise BadInputError(f"--to {to}: {_one_line(error)}") from error
    if to.count("/") != 1:
        raise BadInputError(f"--to {to}: must be OWNER/NAME")


def upload(release: Release, to: str, *, private: bool = True) -> Published:
    """Create the repository if need be, and commit all files at once: either all are there, or none.

    Args:
        release: What is published.
        to: Id of the repository, `owner/name`, which `check_id` accepts.
        private: Whether a new repository is private; one that exists stays as it is.

    Raises:
        BadInputError: no access token for the hub is found.
        StoppedError: the hub cannot be reached, or refuses the upload; nothing was published.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # httpx's or, from version 2 on, httpx2's
        LocalTokenNotFoundError,
    )

    api = HfApi()
    operations = [
        CommitOperationAdd(it.name, str(it.source) if it.source else it.content or b"") for it in release.files
    ]
    try:
        api.create_repo(to, repo_type=release.kind, private=private, exist_ok=True)
        commit = api.create_commit(to, operations, repo_type=release.kind, commit_message="Published with longform")
    except LocalTokenNotFoundError as error:
        raise BadInputError("no token for the hub: run `hf auth login`, or set HF_TOKEN") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise BadInputError(
                f"--to {to}: the hub refuses this token ({status}); run `hf auth login` with one that may write there"
            ) from error
        raise StoppedError(
            f"--to {to}: the hub refuses the upload: {_one_line(error)}; nothing was published"
        ) from error
    except (OSError, HTTPError) as error:
        raise StoppedError(f"the hub cannot be reached: {_one_line(error)}; nothing was published") from error
    return Published(str(commit.repo_url), commit.oid)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
