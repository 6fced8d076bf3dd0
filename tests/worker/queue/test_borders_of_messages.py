"""How large a message on the queue may be, and what an error may quote."""

from __future__ import annotations

import base64

import pytest

from jobs.queue.hints import queue_name
from jobs.records.completion import ErrorCode
from jobs.records.prompt import Prompt
from tests.worker.queue.malicious_messages import good_message
from worker.queue.front_door import MAX_BODY_CHARS, MalformedHint, clean_message
from worker.shards.line_result import failed_line

QUEUE = queue_name("demo")


def padded(chars: int) -> str:
    """The body of a good hint with blanks behind it, so that it has so many characters."""
    body = base64.b64decode(good_message("job-7", 3)["body"])
    return base64.b64encode(body + b" " * (chars // 4 * 3 - len(body))).decode()


def test_a_body_that_is_longer_than_any_hint_is_not_unpacked() -> None:
    message = good_message("job-7", 3)
    message["body"] = padded(MAX_BODY_CHARS)
    assert len(message["body"]) == MAX_BODY_CHARS
    assert clean_message(message, QUEUE)
    message["body"] = padded(MAX_BODY_CHARS + 4)
    with pytest.raises(MalformedHint, match="its body is not a short text"):
        clean_message(message, QUEUE)


def test_an_error_that_quotes_half_a_character_can_be_stored() -> None:
    completion = failed_line(Prompt(index=0, id="a"), ErrorCode.INVALID_LINE, "It holds \ud800.")
    assert completion.error is not None
    assert completion.error.message == r"It holds \ud800."
