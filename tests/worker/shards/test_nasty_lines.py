"""Nothing a line holds can crash a worker: random JSON and known nasties, through the real tokenizer and template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.records.completion import ErrorCode
from jobs.records.job import NewJob
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt
from jobs.records.sampling import SamplingSettings
from model.grammar import Grammars
from model.text.tokenizer import Tokenizer
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from worker.shards.preparation import Preparation, Prepared

TEMPLATE = (
    "{% for message in messages %}<|endoftext|>{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if explode %}{{ 1 // 0 }}{% endif %}{% if grow %}{{ 'x' * grow }}{% endif %}"
)
CARD = ModelCard(name="m", vocab_size=257, max_model_len=512, has_chat_template=True)
JOB = NewJob("j", "m", "native", SamplingSettings(), 1, num_lines=9, shard_size=9, source="f", created_at=0.0)

ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates and NUL included
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)
MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls"]) | ANY_TEXT, JSON, max_size=4)
PROMPTS = st.one_of(
    st.builds(lambda text: {"text": text}, ANY_TEXT),
    st.builds(lambda ids: {"token_ids": tuple(ids)}, st.lists(st.integers(), max_size=5)),
    st.builds(
        lambda messages, kwargs: {"messages": tuple(messages), "chat_template_kwargs": kwargs},
        st.lists(MESSAGE, max_size=3),
        st.dictionaries(ANY_TEXT, JSON, max_size=3),
    ),
)


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def _chat(content: Any, **kwargs: Any) -> dict[str, Any]:
    return {"messages": ({"role": "user", "content": content},), "chat_template_kwargs": kwargs}


NASTIES: dict[str, dict[str, Any]] = {
    "lone surrogate": {"text": "\ud800"},
    "lone surrogate in a message": _chat("\udfff"),
    "NUL": {"text": "a\x00b"},
    "10,000 nested brackets": _chat(_nested(10_000)),
    "10,000 nested brackets in an argument": _chat("hi", tools=_nested(10_000)),
    "no role": {"messages": ({},)},
    "no messages": {"messages": ()},
    "content is a number": _chat(3),
    "a template that fails": _chat("hi", explode=True),
    "a template that grows without bound": _chat("hi", grow=10**12),
    "arguments named like the template's own": _chat("hi", messages="x", self="y"),
    "an id beyond any integer of the machine": {"token_ids": (2**200,)},
    "a negative id": {"token_ids": (-1,)},
    "no ids": {"token_ids": ()},
    "no text": {"text": ""},
    "a megabyte": {"text": "x" * 2**20},
}


@pytest.fixture(scope="module")
def preparation(tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    folder: Path = write_byte_level_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    tokenizer = Tokenizer.from_folder(folder)
    return Preparation(tokenizer, CARD, Grammars(tokenizer, ()))


def prepare_beside_good_lines(preparation: Preparation, line: dict[str, Any]) -> Prepared:
    prompts = [Prompt(0, "before", text="good"), Prompt(1, "nasty", **line), Prompt(2, "after", **_chat("good"))]
    return preparation.prepare(prompts, JOB, group="g", on_token=lambda _: None)


def check(prepared: Prepared) -> None:
    """Each line is in one part; good ones run; whatever is refused can be stored; what runs, the engine can run."""
    ran = {prompt.id: request for prompt, (request,) in prepared.runnable}
    refused = {completion.id: completion for completion in prepared.refused}
    assert ran.keys() | refused.keys() == {"before", "nasty", "after"}
    assert not ran.keys() & refused.keys()
    assert {"before", "after"} <= ran.keys()
    for completion in refused.values():
        msgspec.json.encode(completion)
    for request in ran.values():
        assert all(0 <= token < CARD.vocab_size for token in request.token_ids)
        assert 1 <= len(request.token_ids) <= CARD.max_model_len - request.params.max_tokens


@given(line=PROMPTS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_random_lines_run_or_are_refused_and_their_neighbours_run(
    preparation: Preparation, line: dict[str, Any]
) -> None:
    check(prepare_beside_good_lines(preparation, line))


@pytest.mark.parametrize("line", NASTIES.values(), ids=NASTIES.keys())
def test_known_nasties_run_or_are_refused_as_the_lines_own_fault(
    preparation: Preparation, line: dict[str, Any]
) -> None:
    prepared = prepare_beside_good_lines(preparation, line)
    check(prepared)
    codes = {completion.error.code for completion in prepared.refused if completion.error}
    assert codes <= {ErrorCode.INVALID_LINE, ErrorCode.PROMPT_TOO_LONG}


def test_a_special_token_spelled_in_a_message_is_text_and_in_a_raw_prompt_is_that_token(
    preparation: Preparation,
) -> None:
    end = 256
    spelled = "a<|endoftext|>b"
    chat = prepare_beside_good_lines(preparation, _chat(spelled)).runnable[1][1][0].token_ids
    raw = prepare_beside_good_lines(preparation, {"text": spelled}).runnable[1][1][0].token_ids
    assert chat.count(end) == 1  # the template's own
    assert raw.count(end) == 1 and len(raw) == 3
