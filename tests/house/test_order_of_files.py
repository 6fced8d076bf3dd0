"""The files that take longest start first, so that no process of `make test` is left alone with one at the end."""

from __future__ import annotations

from typing import cast
from unittest.mock import Mock

import pytest

from tests.conftest import LONGEST_FILES, REPOSITORY, pytest_collection_modifyitems


def item(name: str) -> pytest.Item:
    """A test of the file `name` in the folder of tests."""
    return cast("pytest.Item", Mock(path=REPOSITORY / "tests" / name))


def test_every_file_that_is_to_start_first_exists() -> None:
    assert [name for name in LONGEST_FILES if not (REPOSITORY / "tests" / name).exists()] == []


def test_long_files_come_in_their_order_and_then_the_others_in_theirs() -> None:
    first, second, *_ = LONGEST_FILES
    items = [item(name) for name in ("b.py", second, "a.py", first, "b.py")]
    pytest_collection_modifyitems(items)
    assert [str(each.path.relative_to(REPOSITORY / "tests")) for each in items] == [
        first,
        second,
        "b.py",
        "a.py",
        "b.py",
    ]


def test_make_test_hands_files_to_its_processes_in_this_order() -> None:
    (command,) = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if line.startswith("PYTEST =")]
    assert "--dist loadfile --no-loadscope-reorder" in command
