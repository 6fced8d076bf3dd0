"""A message names a shard or is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.records.job import ShardRef
from tests.worker.bad_messages import NO_HINTS
from worker.queue.hint_message import MalformedHint, shard_of_hint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_both_spellings_of_a_hint_name_the_shard() -> None:
    assert shard_of_hint(["job", 3], {}) == ShardRef("job", 3)
    assert shard_of_hint([], {"job_id": "job", "shard_index": 3}) == ShardRef("job", 3)


@pytest.mark.parametrize(("args", "kwargs"), NO_HINTS)
def test_everything_else_is_refused(args: list[Any], kwargs: dict[str, Any]) -> None:
    with pytest.raises(MalformedHint):
        shard_of_hint(args, kwargs)


@given(st.lists(JSON, max_size=3), st.dictionaries(st.text(), JSON, max_size=3))
def test_no_json_raises_anything_but_malformed_hint(args: list[Any], kwargs: dict[str, Any]) -> None:
    try:
        shard = shard_of_hint(args, kwargs)
    except MalformedHint:
        return
    assert shard == ShardRef(args[0], args[1])
