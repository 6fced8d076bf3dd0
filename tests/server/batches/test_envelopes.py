"""The check of what surrounds the prompts of a batch file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.clerk.envelopes import MAX_SHOWN, Envelopes
from tests.server.conftest import chat_line


def faults(*lines: Any, max_lines: int = 100) -> list[tuple[int | None, str, str | None]]:
    rows = [
        (number, line if isinstance(line, bytes) else json.dumps(line).encode()) for number, line in enumerate(lines, 1)
    ]
    return [(fault.line, fault.code, fault.param) for fault in Envelopes("/v1/chat/completions", max_lines).check(rows)]


def test_good_lines_have_no_faults() -> None:
    assert faults(chat_line(1), chat_line(2)) == []
    assert faults(chat_line(1, model="Qwen/Qwen3-0.6B"), chat_line(2, model="qwen3-0.6b")) == []


def test_a_file_without_lines_is_empty() -> None:
    assert faults() == [(None, "empty_file", None)]


def test_a_file_with_too_many_lines_has_one_fault() -> None:
    assert faults(*map(chat_line, range(3)), max_lines=3) == []
    assert faults(*map(chat_line, range(4)), max_lines=3) == [(None, "too_many_tasks", None)]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"custom_id": None}, "missing_required_parameter", "custom_id"),
        ({"custom_id": 7}, "invalid_line", "custom_id"),
        ({"custom_id": ""}, "invalid_line", "custom_id"),
        ({"method": "GET"}, "invalid_line", "method"),
        ({"url": "/v1/completions"}, "url_mismatch", "url"),
        ({"body": None}, "missing_required_parameter", "body"),
        ({"body": 5}, "invalid_line", None),
        ({"body": {}}, "missing_required_parameter", "body.model"),
        ({"body": {"model": 5}}, "invalid_line", "body.model"),
        ({"body": {"model": "other"}}, "model_mismatch", "body.model"),
    ],
)
def test_the_fault_of_a_line_names_its_key(change: dict[str, Any], code: str, param: str | None) -> None:
    assert faults(chat_line(1), chat_line(2) | change) == [(2, code, param)]


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[]", b"5", b"{" * 5000])
def test_what_is_no_json_object_is_named_by_its_line(line: bytes) -> None:
    ((number, code, _),) = faults(chat_line(1), line)
    assert (number, code in ("invalid_json_line", "invalid_line")) == (2, True)


def test_the_faults_beyond_the_first_ones_are_counted() -> None:
    shown = faults(*([b"{"] * (MAX_SHOWN + 3)))
    assert len(shown) == MAX_SHOWN + 1
    assert shown[-1] == (None, "too_many_errors", None)
