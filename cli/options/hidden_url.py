"""Hides a password of the command line from `ps`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from jobs.settings import PREFIX

OPTION = "--redis-url"
VARIABLE = PREFIX + "REDIS_URL"


def hide_password() -> None:
    """Restart this process with the Redis URL in the environment if its command line holds a URL with a password.

    All users of a machine can read command lines, but only the same user can read an environment. Returns if there
    is nothing to hide.
    """
    hidden = without_password(sys.orig_argv, os.environ)
    if hidden is not None:
        words, environment = hidden
        os.execve(sys.executable, words, environment)  # noqa: S606 - ourselves


def without_password(words: Sequence[str], environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]] | None:
    """Return the command line without its Redis URL, and the environment with it; None if the URL has no password.

    If the command line has several Redis URLs, the last one counts.
    """
    kept: list[str] = []
    url: str | None = None
    rest = iter(words)
    for word in rest:
        if word == "--":
            kept += [word, *rest]
        elif word == OPTION:
            value = next(rest, None)
            kept += [word] if value is None else []
            url = value or url
        elif word.startswith(f"{OPTION}="):
            url = word.removeprefix(f"{OPTION}=")
        else:
            kept.append(word)
    if url is None or not _has_password(url):
        return None
    return kept, {**environ, VARIABLE: url}


def _has_password(url: str) -> bool:
    try:
        return bool(urlsplit(url).password) or "password=" in url
    except ValueError:
        return False  # not a URL: the command reports that
