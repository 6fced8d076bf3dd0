"""What a worker writes: for people, and for machines."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from jobs.errors import InvalidInput
from worker.telemetry.logs import FORMAT, JsonFormatter, TextFormatter, set_up_logs


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    caught = sys.exc_info() if error else None
    return logging.LogRecord("worker.test", logging.WARNING, "test.py", 1, message, args, caught)


def test_what_an_error_quotes_cannot_act_on_a_terminal() -> None:
    try:
        raise ValueError("a prompt: \x1b[2J\u202e")
    except ValueError:
        text = TextFormatter(FORMAT).format(record("job %s", "a\x9bb\rc", error=True))
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert r"\x1b[2J\u202e" in text and r"a\x9bb\rc" in text
    assert text.count("\n") > 2  # a traceback keeps its lines


def test_facts_in_a_message_are_fields_of_their_own_and_cannot_pose_as_others() -> None:
    line = json.loads(
        JsonFormatter("host:1:ab").format(record("leased: job=j-1 shard=3 seconds=0.25 worker=x level=y"))
    )
    assert (line["job"], line["shard"], line["seconds"]) == ("j-1", 3, 0.25)
    assert (line["worker"], line["level"], line["logger"]) == ("host:1:ab", "warning", "worker.test")


def test_neither_format_shows_the_user_or_the_password_of_a_server() -> None:
    try:
        raise ConnectionError("redis://someuser:sEcReT@host:6379/0 hung up")
    except ConnectionError:
        event = record(
            "Cannot connect to %s: url=%s", "redis://someuser:**@host:6379/0", "redis://x:sEcReT@h", error=True
        )
    for text in (TextFormatter(FORMAT).format(event), JsonFormatter("host:1:ab").format(event)):
        assert "someuser" not in text and "sEcReT" not in text
        assert "redis://***@host:6379/0" in text


def test_an_error_is_one_line_of_json_with_its_traceback() -> None:
    try:
        raise ValueError("bad\nnews")
    except ValueError:
        text = JsonFormatter("host:1:ab").format(record("it happened", error=True))
    assert "\n" not in text
    assert "ValueError: bad\nnews" in json.loads(text)["error"]


@pytest.mark.parametrize(("level", "line_format"), [("loud", "text"), ("info", "xml")])
def test_a_level_or_format_that_does_not_exist_is_named(level: str, line_format: str) -> None:
    with pytest.raises(InvalidInput, match="must be one of"):
        set_up_logs(level, line_format, "host:1:ab")
