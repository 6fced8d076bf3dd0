"""Downloads from the Hugging Face hub, with errors that tell the user what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from jobs.errors import ModelUnusable

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)

# Subclasses come first: GatedRepoError is a RepositoryNotFoundError.
_REFUSALS: list[tuple[type[Exception], tuple[str, str]]] = [
    (
        GatedRepoError,
        (
            "The model {repository} is gated.",
            "Accept its terms on its page at the hub, then set HF_TOKEN to your access token.",
        ),
    ),
    (
        RepositoryNotFoundError,
        (
            "The hub has no model {repository}, or it is private.",
            "Check the spelling; for a private model, set HF_TOKEN to your access token.",
        ),
    ),
    (
        RevisionNotFoundError,
        ("The model {repository} has no revision {revision!r}.", "Name a branch, a tag or a commit of the model."),
    ),
    (HFValidationError, ("{repository!r} is not a hub id.", "A hub id looks like Qwen/Qwen3-0.6B.")),
]


def download(
    repository: str, revision: str | None, patterns: list[str], show_progress: bool, cache_dir: Path | None
) -> Path:
    """Download the files that the hub's cache lacks, and return the folder of the model's snapshot.

    Args:
        repository: `org/name`.
        revision: A branch, tag or commit. None means the main branch.
        patterns: Names of the files to download; `*` stands for any text.
        show_progress: Draw a progress bar.
        cache_dir: Folder for downloads. None means the hub's default.

    Raises:
        ModelUnusable: The download failed.
    """
    try:
        snapshot = snapshot_download(
            repository,
            revision=revision,
            cache_dir=cache_dir,
            allow_patterns=patterns,
            tqdm_class=tqdm if show_progress else _NoProgress,
        )
    except Exception as error:  # the library also passes on errors of its HTTP client, which depends on its version
        raise _explained(error, repository, revision) from error
    return Path(snapshot)


class _NoProgress(tqdm):
    """A progress bar that draws nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]


def _explained(error: Exception, repository: str, revision: str | None) -> ModelUnusable:
    """Turn an error of the hub's library into one that tells the user what to do."""
    if isinstance(error, LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return ModelUnusable(
            f"The model {repository} is not complete in the cache, and HF_HUB_OFFLINE forbids the download.",
            "Unset HF_HUB_OFFLINE for the first run.",
        )
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return ModelUnusable(
            f"The model {repository} cannot be stored: {error}.",
            "Free space, or set HF_HOME to a folder on another disk.",
        )
    refusal = next((texts for kind, texts in _REFUSALS if isinstance(error, kind)), None)
    if refusal is not None:
        return ModelUnusable(*(text.format(repository=repository, revision=revision) for text in refusal))
    reason = str(error.__cause__ or error) or type(error).__name__
    return ModelUnusable(
        f"The model {repository} cannot be downloaded from {constants.ENDPOINT}: {reason:.300}.",
        "Check the network, then run the command again. Downloaded files are kept.",
    )
