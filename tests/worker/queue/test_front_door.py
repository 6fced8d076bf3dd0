"""What comes in from the queue: hints, written anew, and nothing else."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.queue.hints import queue_name
from jobs.records.job import ShardRef
from testing.environment.hand_clock import HandClock
from tests.worker.bad_messages import NO_HINTS
from tests.worker.queue.malicious_messages import ODD_VALUES, good_message, malicious_messages
from worker.queue.front_door import MalformedHint, clean_message, shard_of_hint
from worker.queue.refusals import LOG_SECONDS, Refusals

QUEUE = queue_name("demo")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_a_hint_passes_and_nothing_of_its_headers_does() -> None:
    message = good_message("job-7", 3)
    message["headers"]["argsrepr"] = "\x1b[2J"
    message["headers"]["origin"] = "somebody"
    clean = clean_message(message, QUEUE)
    assert "somebody" not in json.dumps(clean) and "x1b" not in json.dumps(clean)
    assert clean["headers"]["id"] == message["headers"]["id"]
    assert clean["properties"]["delivery_tag"] != message["properties"]["delivery_tag"]
    assert clean_message(clean, QUEUE)["body"] == clean["body"]


def test_every_malicious_message_is_refused(tmp_path: Path) -> None:
    evidence = tmp_path / "unpickled"
    for item in malicious_messages(5_000, random.Random(3), evidence):
        try:
            message = json.loads(item.decode())
        except (ValueError, RecursionError):
            continue  # `TolerantChannel` drops what is no JSON
        with pytest.raises(MalformedHint):
            clean_message(message, QUEUE)
    assert not evidence.exists()


def test_whatever_stands_in_a_message_it_is_either_a_hint_or_refused() -> None:
    luck = random.Random(5)
    passed = 0
    for _ in range(20_000):
        message = copy.deepcopy(good_message())
        _spoil(message, luck)
        try:
            clean = clean_message(message, QUEUE)
        except MalformedHint:
            continue
        passed += 1
        assert set(clean["headers"]) == {"lang", "task", "id", "ignore_result"}
    assert 0 < passed < 20_000


def _spoil(message: dict[str, Any], luck: random.Random) -> None:
    part = luck.choice((message, message["headers"], message["properties"]))
    part[luck.choice([*part, "compression", "callbacks"])] = luck.choice(ODD_VALUES)


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


def test_a_flood_of_refusals_is_counted_and_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    refusals = Refusals(clock)
    for _ in range(1_000):
        refusals.add("it is not a message")
    clock.advance(LOG_SECONDS)
    refusals.add("it is for another task")
    assert refusals.count == 1_001
    assert [record.getMessage() for record in caplog.records] == [
        "refused a message on the queue (1 so far): it is not a message",
        "refused a message on the queue (1001 so far): it is for another task",
    ]
