"""Files of a Hugging Face hub: `hf://datasets/ORG/NAME@REVISION/PATH` is a file that the hub gives over HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self
from urllib.parse import quote

from jobs.errors import InvalidInput
from jobs.files.remote.driver_errors import driver_error, missing_driver
from jobs.files.remote.http_file import HttpFile
from jobs.files.remote.urls import http_url, shown_url

_URL = re.compile(r"hf://(datasets/|spaces/)?([\w.-]+/[\w.-]+?)(?:@([^/]+))?/(.+)", re.IGNORECASE)
_LOGIN_HINT = "Check the name. If it is private or gated, set HF_TOKEN, or log in with `hf auth login`."


@dataclass(frozen=True)
class HubPath:
    """A path, or a pattern of paths, in a repository of the hub."""

    kind: str  # `datasets/`, `spaces/`, or empty for a model's repository
    repository: str
    revision: str | None  # as in a URL: a slash is %2F; None for the main branch
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the parts of a URL of `hf`. Raises `InvalidInput` if it has another form."""
        found = _URL.fullmatch(url)
        if found is None:
            raise InvalidInput(
                f"{shown_url(url)} names no file on the hub.",
                "Write hf://datasets/ORG/NAME/PATH, or hf://datasets/ORG/NAME@REVISION/PATH.",
            )
        return cls((found[1] or "").lower(), found[2], found[3], found[4])

    def file(self, name: str) -> HttpFile:
        """Return the file. Its name for messages is `name`."""
        endpoint = http_url(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).rstrip("/")
        path = f"{self.kind}{self.repository}/resolve/{self.revision or 'main'}/{quote(self.path)}"
        token = hub_token(os.environ)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return HttpFile(f"{endpoint}/{path}", name, headers, _LOGIN_HINT)

    def matching(self) -> list[str]:
        """Return the URLs of the repository's files that match the path as a pattern, sorted.

        Raises:
            InvalidInput: huggingface_hub is not installed, or the hub refuses.
        """
        try:
            from huggingface_hub import HfApi
            from huggingface_hub.hf_api import RepoFile
        except ImportError:
            raise missing_driver("A pattern of hf://", "huggingface_hub", "hf") from None
        start = f"hf://{self.kind}{self.repository}{'' if self.revision is None else f'@{self.revision}'}/"
        pattern = self.path.split("/")
        kind = {"datasets/": "dataset", "spaces/": "space"}.get(self.kind, "model")
        revision = None if self.revision is None else self.revision.replace("%2F", "/")
        try:
            tree = HfApi().list_repo_tree(self.repository, recursive=True, revision=revision, repo_type=kind)
            paths = [entry.path for entry in tree if isinstance(entry, RepoFile)]
        except Exception as error:  # noqa: BLE001 - the package raises errors of several others
            failure = driver_error(error, f"{start}{self.path}", "be listed", _LOGIN_HINT)
            # The hub also says that it does not know a repository if a stranger may not know of it.
            raise InvalidInput(failure.message, _LOGIN_HINT) from None
        return [start + path for path in sorted(paths) if _matches(path.split("/"), pattern)]


def hub_token(environ: Mapping[str, str]) -> str | None:
    """Return the user's token for the hub: from the environment, or from the file that `hf auth login` writes."""
    said = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if said:
        return said.strip()
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    try:
        return Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser().read_text().strip() or None
    except OSError:
        return None


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a path's parts match those of a pattern. `**` stands for any number of folders."""
    if not path or not pattern:
        return not path and not pattern
    if pattern[0] == "**":
        rest = pattern[1:] or ["*"]
        return any(_matches(path[first:], rest) for first in range(len(path)))
    return fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])
