"""Log-probabilities in result lines, in the shape of each endpoint."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from openai.types import Completion as OpenAICompletion
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from jobs.files.results.flat_rows import FlatRows
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.records.completion import Choice, Logprobs
from jobs.records.prompt import Endpoint
from jobs.records.sampling import FinishReason
from jobs.stores.packing import decode_completion, encode_completion
from testing.jobs.packed_logprobs import packed_logprobs
from tests.formats.results.test_result_lines import completion, job, parsed

HALF, OTHER_HALF = "\N{EURO SIGN}".encode()[:2], "\N{EURO SIGN}".encode()[2:]
TOKENS = {1: b"5", 2: HALF, 3: OTHER_HALF, 4: b" dollars", 9: b"<|im_end|>"}
LOGPROBS = packed_logprobs(
    [(1, -0.1), (2, -1.25), (3, 0.0), (9, -2.5)],
    TOKENS,
    [[(1, -0.1), (4, -3.0)], [(4, -0.5), (2, -1.25)], [(3, 0.0), (2, -9999.0)], [(4, -1.0), (1, -1.5)]],
    ended_by_token=True,
)


def body(endpoint: Endpoint, logprobs: Logprobs = LOGPROBS) -> dict[str, Any]:
    line = parsed(openai_line(completion(endpoint, logprobs=logprobs), job("openai")))
    found: dict[str, Any] = line["response"]["body"]
    return found


def test_a_chat_has_the_tokens_of_its_content_with_their_bytes() -> None:
    found = ChatCompletion.model_validate(body("chat"), strict=True).choices[0].logprobs
    assert found is not None
    assert found.refusal is None
    assert found.content is not None
    assert [(each.token, each.logprob) for each in found.content] == [
        ("5", -0.1),
        (r"bytes:\xe2\x82", -1.25),
        (r"bytes:\xac", 0.0),
    ]
    assert b"".join(bytes(each.bytes or ()) for each in found.content).decode() == "5\N{EURO SIGN}"
    assert [[top.token for top in each.top_logprobs] for each in found.content] == [
        ["5", " dollars"],
        [" dollars", r"bytes:\xe2\x82"],
        [r"bytes:\xac", r"bytes:\xe2\x82"],
    ]


def test_a_text_has_its_tokens_with_the_one_that_ended_it_and_their_places() -> None:
    found = OpenAICompletion.model_validate(body("completions"), strict=True).choices[0].logprobs
    assert found is not None
    assert found.tokens == ["5", r"bytes:\xe2\x82", r"bytes:\xac", "<|im_end|>"]
    assert found.token_logprobs == [-0.1, -1.25, 0.0, -2.5]
    assert found.text_offset == [0, 1, 1, 2]
    assert found.top_logprobs is not None
    assert found.top_logprobs[0] == {"5": -0.1, " dollars": -3.0}
    assert found.top_logprobs[3] == {" dollars": -1.0, "5": -1.5, "<|im_end|>": -2.5}
    for token, value, likeliest in zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True):
        assert likeliest[token] == value


def test_a_text_that_asks_for_none_of_the_likeliest_has_its_own_tokens_alone() -> None:
    own = packed_logprobs([(1, -0.1)], {1: b"5"})
    found = OpenAICompletion.model_validate(body("completions", own), strict=True).choices[0].logprobs
    assert found is not None
    assert found.top_logprobs == [{"5": -0.1}]


def test_a_response_has_the_log_probabilities_beside_its_text() -> None:
    found = Response.model_validate(body("responses"))
    part: Any = found.output[0].content[0]  # type: ignore[union-attr, index]
    assert (part.logprobs[0].token, part.logprobs[0].logprob) == ("5", -0.1)
    assert [len(each.top_logprobs) for each in part.logprobs] == [2, 2, 2]


def test_a_native_line_and_a_row_of_a_table_have_the_tokens_of_a_chat() -> None:
    result = completion(logprobs=LOGPROBS)
    tokens = body("chat")["choices"][0]["logprobs"]["content"]
    assert parsed(native_line(result))["logprobs"] == tokens
    assert parsed(FlatRows("native").row(result))["logprobs"] == tokens
    assert "logprobs" not in parsed(native_line(completion()))


def test_each_of_several_completions_has_its_own() -> None:
    more = (Choice("x", FinishReason.STOP, logprobs=packed_logprobs([(4, -7.0)], {4: b" dollars"})),)
    line = parsed(openai_line(completion("chat", logprobs=LOGPROBS, more_choices=more), job("openai")))
    first, second = (choice["logprobs"]["content"] for choice in line["response"]["body"]["choices"])
    assert (len(first), [each["logprob"] for each in second]) == (3, [-7.0])
    native = parsed(native_line(completion(logprobs=LOGPROBS, more_choices=more)))["choices"]
    assert [len(choice["logprobs"]) for choice in native] == [3, 1]


def test_a_completion_without_any_text_has_an_empty_list() -> None:
    assert body("chat", packed_logprobs([], {}))["choices"][0]["logprobs"] == {"content": [], "refusal": None}


@pytest.mark.parametrize("value", [-0.1, -1 / 3, -1e-7, -123.456, -9999.0, -16.000002])
def test_a_number_is_written_with_few_digits_and_is_the_same_float32(value: float) -> None:
    found = body("completions", packed_logprobs([(1, value)], {1: b"5"}))["choices"][0]["logprobs"]["token_logprobs"][0]
    assert struct.pack("<f", found) == struct.pack("<f", value)
    assert len(f"{found!r}") <= 14
    assert math.isclose(found, value, rel_tol=1e-6)


def test_the_store_keeps_them_in_a_fraction_of_their_room_in_a_result() -> None:
    tokens = [(place % 500, -place / 7) for place in range(1000)]
    top = [[((place * 7 + rank) % 500, -rank / 3) for rank in range(20)] for place in range(1000)]
    names = {token: f" token{token}".encode() for token in range(500)}
    result = completion("chat", logprobs=packed_logprobs(tokens, names, top))
    stored = encode_completion(result)
    assert decode_completion(stored, "key") == result
    assert 6 * len(stored) < len(openai_line(result, job("openai")))
