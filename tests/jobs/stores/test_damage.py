"""What an error says about a value of the store that cannot be decoded: no words of Python's decoders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.errors import RecordDamaged
from jobs.stores.damage import reading


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (lambda: int(b"many"), "'many' is not a whole number."),
        (lambda: int("many"), "'many' is not a whole number."),
        (b"\xff".decode, "its text is not UTF-8."),
        (lambda: dict[str, int]()["state"], "its field 'state' is missing."),
    ],
    ids=["bytes", "text", "not UTF-8", "no field"],
)
def test_a_value_that_cannot_be_decoded_is_described_in_plain_words(decode: Callable[[], object], said: str) -> None:
    with pytest.raises(RecordDamaged) as raised, reading("the-record"):
        decode()
    assert raised.value.message == f"The store's record the-record cannot be read: {said}"
