"""Arguments of `submit` about the completions themselves: their number, their thought and their form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import qwen_batch
from jobs.records.constraint import Constraint
from jobs.records.job import ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.connect import connect
from jobs.stores.protocol import JobStore
from testing.processes.valkey import ValkeyProcess

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TEXT = json.dumps(SCHEMA, separators=(",", ":"))
CHAT = [{"messages": [{"role": "user", "content": "Hi"}]}]


class Answer:
    """What `submit` needs of a class of pydantic."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"title": "Answer", **SCHEMA}


@pytest.fixture
def store(server: ValkeyProcess) -> JobStore:
    return connect(server.url)


def prompts_of(store: JobStore, job: qwen_batch.Job) -> list[Prompt]:
    return [prompt for prompt, _ in store.jobs.lines(ShardRef(job.id, 0))]


def test_thinking_and_its_budget_are_the_jobs(client: qwen_batch.Client, store: JobStore) -> None:
    spec = store.jobs.get(client.submit(CHAT, model="other", thinking=False).id).spec
    assert (spec.line_defaults.thinking, spec.defaults.thinking_token_budget) == (False, None)
    spec = store.jobs.get(client.submit(CHAT, model="other", thinking=True, thinking_budget=2048).id).spec
    assert (spec.line_defaults.thinking, spec.defaults.thinking_token_budget) == (True, 2048)


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        ({"schema": SCHEMA}, Constraint("json", TEXT)),
        ({"schema": {"name": "a", "schema": SCHEMA, "strict": True}}, Constraint("json", TEXT, strict=True)),
        ({"choices": ("good", "bad")}, Constraint("choice", '["good","bad"]')),
        ({"regex": "[0-9]+"}, Constraint("regex", "[0-9]+")),
    ],
)
def test_a_form_of_completions_is_the_jobs_constraint(
    client: qwen_batch.Client, store: JobStore, arguments: dict[str, Any], constraint: Constraint
) -> None:
    assert store.jobs.get(client.submit(CHAT, **arguments).id).spec.line_defaults.constraint == constraint


def test_choices_to_score_are_the_jobs(client: qwen_batch.Client, store: JobStore) -> None:
    defaults = store.jobs.get(client.submit(CHAT, score=("good", "bad")).id).spec.line_defaults
    assert (defaults.score, defaults.constraint) == (("good", "bad"), None)


def test_a_schema_may_be_a_class_of_pydantic_or_a_file(
    client: qwen_batch.Client, store: JobStore, tmp_path: Path
) -> None:
    said = store.jobs.get(client.submit(CHAT, schema=Answer).id).spec.line_defaults.constraint
    assert said is not None
    assert json.loads(said.text) == Answer.model_json_schema()
    path = tmp_path / "schema.json"
    path.write_text(TEXT)
    for given in (path, str(path)):
        job = client.submit(CHAT, schema=given, new=True)
        assert store.jobs.get(job.id).spec.line_defaults.constraint == Constraint("json", TEXT)


def test_n_is_for_rows_that_do_not_say(client: qwen_batch.Client, store: JobStore) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "a"}, {"prompt": "b", "n": 1}, {"prompt": "c", "n": 5}]
    assert [prompt.n for prompt in prompts_of(store, client.submit(rows, n=3))] == [3, 1, 5]
    bodies: list[dict[str, Any]] = [{"prompt": "a"}, {"prompt": "a", "n": 1}]
    openai = [{"custom_id": str(number), "body": body} for number, body in enumerate(bodies)]
    assert [prompt.n for prompt in prompts_of(store, client.submit(openai, n=3))] == [3, 1]
    assert client.submit(rows, n=2).id != client.submit(rows, n=3).id


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"thinking": 1}, "`thinking` is 1; it must be True, False or None."),
        ({"thinking_budget": -1}, "`thinking_budget` is -1; it must be a whole number from 0"),
        ({"n": 0}, "`n` is 0; it must be a whole number from 1 to 128."),
        ({"n": True}, "`n` is True; it must be a whole number from 1 to 128."),
        ({"schema": {"type": "strnig"}}, "`schema` cannot be used: the JSON schema cannot be used: Invalid type: strn"),
        ({"schema": 5}, "`schema` cannot be used: `schema` is 5; it must be an object."),
        ({"schema": "nowhere.json"}, "`schema` nowhere.json cannot be read: No such file or directory."),
        ({"choices": "ab"}, '`choices` cannot be used: `choices` is "ab"; it must be a list of texts'),
        ({"score": "ab"}, '`score` cannot be used: `score` is "ab"; it must be a list of texts'),
        ({"score": ["a"], "choices": ["a"]}, "`choices` and `score` cannot be used together."),
        ({"regex": "("}, "`regex` cannot be used: the regex cannot be used: unclosed group"),
        ({"regex": "a", "choices": ["a"]}, "`choices` and `regex` cannot be used together."),
        ({"regex": "a", "min_tokens": 3}, "`min_tokens` is 3; it cannot be used with a schema"),
        ({"thinking_budget": 50, "max_tokens": 60}, "`max_tokens` is 60; it must be more than 74"),
    ],
)
def test_a_wrong_wish_is_named_and_nothing_is_stored(
    client: qwen_batch.Client, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(qwen_batch.InvalidInput) as refusal:
        client.submit(CHAT, **({"model": "other"} | arguments))
    assert said in str(refusal.value)
    assert client.jobs() == []


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        ([{"question": "a"}], {}, "Try template='{{ question }}'"),
        ([{"prompt": "a", "promt": "b"}], {}, "add template='{{ promt }}'"),
        ([{"prompt": "a", "temperatur": "b"}], {}, 'add keep=["temperatur"]'),
        ([{"prompt": ""}, {"prompt": "a"}], {}, "use skip_invalid=True to run"),
        ([{"prompt": "a", "model": "x/a"}, {"prompt": "a", "model": "x/b"}], {"model": "x/a"}, "use any_model=True to"),
        ([{"prompt": "a", "model": "nobody"}], {}, 'Say which model answers: model="Qwen/Qwen3-4B".'),
    ],
)
def test_an_error_names_arguments_and_no_options(
    client: qwen_batch.Client, rows: list[dict[str, Any]], arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(qwen_batch.InvalidInput) as refusal:
        client.submit(rows, **arguments)
    assert said in str(refusal.value)
    assert " --" not in str(refusal.value)


def test_a_notice_names_arguments_and_no_options(client: qwen_batch.Client) -> None:
    rows = [{"messages": [*CHAT[0]["messages"], {"role": "assistant", "content": "Yo"}]}]
    with pytest.warns(UserWarning, match='last_assistant="drop" removes it, last_assistant="continue" goes on'):
        client.submit(rows)


def test_a_server_that_cannot_be_reached_is_named_as_an_argument() -> None:
    with pytest.raises(qwen_batch.StoreUnavailable, match="name another one with `redis_url` or QWEN_BATCH_REDIS_URL"):
        qwen_batch.connect("redis://127.0.0.1:1/0").jobs()
