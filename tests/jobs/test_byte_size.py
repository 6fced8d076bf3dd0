from __future__ import annotations

import pytest

from jobs.byte_size import format_bytes, parse_bytes
from jobs.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("4GiB", 4 * 1024**3),
        ("4 gib", 4 * 1024**3),
        ("4G", 4 * 1024**3),
        ("4GB", 4 * 1000**3),
        ("1.5MiB", 1536 * 1024),
        ("512k", 512 * 1024),
        ("2TiB", 2 * 1024**4),
        (" 7 b ", 7),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "4 apples", "1e9", "4GiB extra", "٣", "0.5"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_bytes(text)
    assert repr(text) in caught.value.message
    assert "4GiB" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 40, "3 TiB"), (1 << 30, "1 GiB")]
)
def test_a_size_is_written_in_binary_units(size: int, text: str) -> None:
    assert format_bytes(size) == text
