"""Downloads from the Hugging Face hub, with errors that tell the user what to do."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from jobs.errors import ModelUnusable
from model.checkpoint.gguf.folder import gguf_stem, models_in

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


def download_gguf(
    repository: str, revision: str | None, weights: str, show_progress: bool, cache_dir: Path | None
) -> tuple[Path, str]:
    """Download a GGUF file that the hub's cache lacks. Return its path, and the commit of the snapshot.

    Args:
        repository: `org/name`.
        revision: A branch, tag or commit. None means the main branch.
        weights: The end of the file's name, in large or small letters, such as `Q4_K_M`. If the model is split into
            several files, all are downloaded, and the first one is returned.
        show_progress: Draw a progress bar.
        cache_dir: Folder for downloads. None means the hub's default.

    Raises:
        ModelUnusable: The download failed, or the repository has no such file, or several ones.
    """
    spellings = dict.fromkeys((weights, weights.upper(), weights.lower()))
    ends = (f"{spelling}{end}" for spelling in spellings for end in (".gguf", "-?????-of-?????.gguf"))
    patterns = [pattern for end in ends for pattern in (f"*[-._/]{end}", end)]
    snapshot = download(repository, revision, patterns, show_progress, cache_dir)
    wanted = re.compile(rf"(.*[-._])?{re.escape(weights)}", re.IGNORECASE)
    found = [
        model
        for folder in sorted({path.parent for path in snapshot.rglob("*.gguf")})
        for model in models_in(folder)
        if wanted.fullmatch(gguf_stem(model.name))
    ]
    if len(found) == 1:
        return found[0], snapshot.name
    if found:
        shown = ", ".join(path.name for path in found)
        raise ModelUnusable(
            f"The model {repository} has {len(found)} GGUF files of {weights}: {shown}.",
            "Name one of them by a longer end of its name.",
        )
    names = _gguf_names(repository, revision)
    raise ModelUnusable(
        f"The model {repository} has no GGUF file of {weights}.",
        f"Its GGUF files are: {', '.join(names)}." if names else f"See its files at {constants.ENDPOINT}/{repository}",
    )


def _gguf_names(repository: str, revision: str | None) -> list[str]:
    """Return the names of a repository's GGUF files, or nothing if the hub does not answer."""
    try:
        names = HfApi().list_repo_files(repository, revision=revision)
    except Exception:  # noqa: BLE001 - the names are only a hint
        return []
    return [name for name in names if name.endswith(".gguf")]


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
