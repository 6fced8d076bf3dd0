"""The C++ sources are compiled together (`model/kernels/build.py`), so each needs a namespace for its private names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model.kernels.build import SOURCES

ANONYMOUS = re.compile(r"(?:^namespace (\w+) \{\n)?^namespace \{$", re.MULTILINE)


@pytest.mark.parametrize("source", sorted(SOURCES.glob("*/*.cpp")), ids=lambda source: str(source.name))
def test_a_cpp_file_hides_its_private_names_in_a_namespace_of_its_own(source: Path) -> None:
    assert ANONYMOUS.findall(source.read_text()) == [f"{source.stem}_detail"]


@pytest.mark.parametrize("header", sorted(SOURCES.glob("*/*.h")), ids=lambda header: str(header.name))
def test_a_header_hides_nothing_in_an_anonymous_namespace(header: Path) -> None:
    assert ANONYMOUS.findall(header.read_text()) == []
