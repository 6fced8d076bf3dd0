"""Find the sources that a user names: paths, URLs, patterns such as `more/*.csv`, and - for standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url, shown_url
from jobs.harmless import unicode_text

STANDARD_INPUT = "-"


def source_names(said: Iterable[str]) -> list[str]:
    """Return each source once, in the order given. The files of a pattern are sorted by name.

    A path that exists is taken as it is, even if it has characters of a pattern.

    Args:
        said: Paths and patterns. `**` stands for any number of folders.

    Raises:
        InvalidInput: A pattern matches no file, or a file is named twice.
    """
    found: dict[tuple[int, int] | str, tuple[str, str]] = {}
    for pattern in said:
        for name in _names_of(pattern):
            identity = _identity(name)
            if identity in found:
                raise _named_twice(found[identity], (name, pattern))
            found[identity] = name, pattern
    return [name for name, _ in found.values()]


def _names_of(pattern: str) -> list[str]:
    if is_url(pattern):
        return _urls_of(pattern)
    if pattern == STANDARD_INPUT or not glob.has_magic(pattern) or os.path.lexists(pattern):
        return [pattern]
    names = sorted(name for name in _matches(pattern) if not Path(name).is_dir())
    if not names:
        raise InvalidInput(
            f"No file matches {unicode_text(pattern)}.", f"The pattern is read in {unicode_text(str(Path.cwd()))}."
        )
    return names


def _urls_of(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    from jobs.files.remote.remote_source import urls_matching

    urls = urls_matching(pattern)
    if not urls:
        raise InvalidInput(f"No file matches {shown_url(pattern)}.", "Check the URL.")
    return urls


def _matches(pattern: str) -> list[str]:
    """Return paths as a shell does: hidden files are left out, and the pattern may be absolute."""
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 - `Path.glob` does neither


def _identity(name: str) -> tuple[int, int] | str:
    """Return what two names of one file have in common: the file's place on its disk, or the name itself."""
    try:
        status = Path("/dev/stdin" if name == STANDARD_INPUT else name).stat()
    except OSError:
        return name
    return status.st_dev, status.st_ino


def _named_twice(one: tuple[str, str], other: tuple[str, str]) -> InvalidInput:
    names = [
        _shown(name) if name == pattern else f"{_shown(name)} (by {_shown(pattern)})" for name, pattern in (one, other)
    ]
    what = names[0] if names[0] == names[1] else " and ".join(names)
    verb = "is named twice" if names[0] == names[1] else "are one file"
    return InvalidInput(f"{what} {verb}.", "Name each file once.")


def _shown(name: str) -> str:
    return shown_url(name) if is_url(name) else unicode_text(name)
