"""Files that people have run with the command that they would guess; the test plays the worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.records.job import ShardRef
from jobs.records.prompt import Prompt
from jobs.stores.protocol import JobStore
from testing.processes.command_line import write_jsonl
from testing.processes.valkey import ValkeyProcess
from tests.cli.acting_worker import report, run_job
from tests.cli.conftest import Cli

ASK = [{"role": "user", "content": "What is 37 + 48?"}]
Accepted = Callable[..., Prompt]


def batch(number: int = 1, **body: Any) -> dict[str, Any]:
    """An OpenAI Batch line whose body has these fields on top of the usual ones."""
    return {
        "custom_id": f"r-{number}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": ASK} | body,
    }


@pytest.fixture
def first_prompt(cli: Cli, store: JobStore, tmp_path: Path) -> Accepted:
    """Submits lines with some words and returns the first line as the store has it."""

    def first_prompt(*lines: Any, words: tuple[str, ...] = ()) -> Prompt:
        done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", lines), *words)
        assert done.returncode == 0, done.stderr
        return store.jobs.lines(ShardRef(done.stdout.strip(), 0))[0][0]

    return first_prompt


def test_model_answers_lines_that_name_another_one_and_says_so(cli: Cli, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [batch(n, model="gpt-4o-mini") for n in range(200)])
    done = cli("submit", path, "--model", "Qwen/Qwen3-4B")
    assert done.returncode == 0
    assert "200 lines name gpt-4o-mini; Qwen/Qwen3-4B answers them." in done.stderr
    from_environment = cli("submit", path, env={"QWEN_BATCH_MODEL": "Qwen/Qwen3-4B"})
    assert from_environment.returncode == 0
    assert "Qwen/Qwen3-4B answers them." in from_environment.stderr


def test_lines_that_name_a_model_that_can_be_had_choose_it(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [batch(1, model="Qwen/Qwen3-4B"), batch(2, model="qwen3-4b")])
    done = cli("submit", path)
    assert store.jobs.get(done.stdout.strip()).spec.model == "Qwen/Qwen3-4B"
    assert "answers" not in done.stderr


@pytest.mark.parametrize("model", ["gpt-4o-mini", "meta-llama/Llama-3.1-8B-Instruct", "qwen3-fans/Llama-3@qwen3"])
def test_lines_that_name_a_model_that_cannot_be_had_are_told_what_to_type(
    cli: Cli, valkey: ValkeyProcess, tmp_path: Path, model: str
) -> None:
    done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", [batch(model=model)]))
    assert done.returncode == 2
    assert f"'{model}'" in done.stderr
    assert "Say which model answers: --model Qwen/Qwen3-4B" in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


def test_a_model_of_another_family_may_be_named_by_an_option_and_served(
    cli: Cli, store: JobStore, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [batch(model="our/tuned-model")])
    assert cli("check", path, "--model", "our/tuned-model").returncode == 0
    store.fleet.report_worker(report(model="our/tuned-model"), ttl_seconds=60)
    done = cli("submit", path)
    assert store.jobs.get(done.stdout.strip()).spec.model == "our/tuned-model"


def test_a_file_that_names_several_models_is_refused_unless_any_model_may_answer(cli: Cli, tmp_path: Path) -> None:
    lines = [batch(n, model="gpt-4o" if n < 3 else "gpt-4o-mini") for n in range(5)]
    path = write_jsonl(tmp_path / "prompts.jsonl", lines)
    done = cli("submit", path, "--model", "Qwen/Qwen3-4B")
    assert done.returncode == 2
    assert "names 2 models: gpt-4o (3 lines), gpt-4o-mini (2 lines)" in done.stderr
    assert "--any-model" in done.stderr
    assert cli("submit", path, "--model", "Qwen/Qwen3-4B", "--any-model").returncode == 0


def test_a_strict_model_refuses_every_other_name(cli: Cli, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [batch(1, model="gpt-4o"), batch(2, model="gpt-4o")])
    done = cli("submit", path, "--model", "Qwen/Qwen3-4B", "--strict-model")
    assert done.returncode == 2
    assert 'lines 1-2: `body.model` is "gpt-4o"; this job runs on "Qwen/Qwen3-4B"' in done.stderr
    both = cli("submit", path, "--strict-model", "--any-model")
    assert (both.returncode, "cannot be used together" in both.stderr) == (2, True)


def test_added_lines_may_name_another_model_as_well(cli: Cli, tmp_path: Path) -> None:
    job_id = cli("submit", write_jsonl(tmp_path / "a.jsonl", [batch(1)]), "--model", "Qwen/Qwen3-4B").stdout.strip()
    more = write_jsonl(tmp_path / "b.jsonl", [batch(2, model="gpt-4o", user="me")])
    refused = cli("extend", job_id, more, "--strict-model")
    assert (refused.returncode, "this job runs on" in refused.stderr) == (2, True)
    done = cli("extend", job_id, more)
    assert done.returncode == 0
    assert "1 line names gpt-4o; Qwen/Qwen3-4B answers it." in done.stderr
    assert "`user` has no effect here: 1 line." in done.stderr


WITHOUT_EFFECT: dict[str, Any] = {
    **{"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "safety_identifier": "x"},
    **{"prompt_cache_key": "k", "prompt_cache_retention": "24h", "parallel_tool_calls": True, "priority": 1},
    **{"stream_options": {"include_usage": True}, "cache_salt": "s", "request_id": "r", "timeout": 600},
    "provider": {"order": ["x"]},
}


def test_each_field_without_effect_has_one_notice(cli: Cli, tmp_path: Path) -> None:
    lines = [batch(n, **WITHOUT_EFFECT, web_search_options={}) for n in range(3)]
    lines[0]["body"]["messages"] = [ASK[0] | {"cache_control": {}, "id": "m", "timestamp": 5, "weight": 1}]
    done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", lines))
    assert done.returncode == 0, done.stderr
    for key in WITHOUT_EFFECT:
        assert f"`{key}` has no effect here: 3 lines." in done.stderr
    for key in ("cache_control", "id", "timestamp", "weight"):
        assert f"`messages[].{key}` has no effect here: 1 line." in done.stderr
    assert done.stderr.count("has no effect") == len(WITHOUT_EFFECT) + 4


@pytest.mark.parametrize("key", ["max_completion_tokens", "max_output_tokens", "max_new_tokens"])
def test_each_spelling_of_max_tokens_is_known(first_prompt: Accepted, key: str) -> None:
    assert first_prompt(batch(**{key: 7})).settings.max_tokens == 7
    assert first_prompt({"messages": ASK, key: 8}).settings.max_tokens == 8


def test_minus_one_switches_top_k_and_the_seed_off(first_prompt: Accepted) -> None:
    settings = first_prompt(batch(top_k=-1, seed=-1)).settings
    assert (settings.top_k, settings.seed) == (0, None)


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_effort": "none"},
        {"reasoning_effort": "minimal"},
        {"enable_thinking": False},
        {"extra_body": {"enable_thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ],
)
def test_each_spelling_switches_thinking_off(first_prompt: Accepted, said: dict[str, Any]) -> None:
    assert first_prompt(batch(**said)).chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize(
    "envelope",
    [
        {"method": "post"},
        {"method": None, "url": None},
        {"url": "/chat/completions"},
        {"url": "/v4/chat/completions"},
        {"url": "/v1/chat/completions/"},
        {"url": "https://api.openai.com/v1/chat/completions"},
        {"anything": None},
        {"custom_id": 1},
    ],
)
def test_each_spelling_of_the_envelope_is_a_chat_line(first_prompt: Accepted, envelope: dict[str, Any]) -> None:
    prompt = first_prompt(batch() | envelope)
    assert (prompt.endpoint, prompt.messages) == ("chat", tuple(ASK))


def test_a_line_with_an_id_and_a_body_needs_no_more(first_prompt: Accepted) -> None:
    assert first_prompt({"custom_id": "a", "body": {"messages": ASK}}).endpoint == "chat"
    assert first_prompt({"custom_id": "a", "body": {"prompt": "x"}}).endpoint == "completions"


def test_a_body_alone_is_a_line(first_prompt: Accepted) -> None:
    prompt = first_prompt({"model": "demo", "messages": ASK, "max_tokens": 5, "temperature": None, "foo": None})
    assert (prompt.id, prompt.messages, prompt.settings.max_tokens) == ("1", tuple(ASK), 5)


def test_whole_numbers_are_ids_and_equal_to_their_text(cli: Cli, first_prompt: Accepted, tmp_path: Path) -> None:
    assert first_prompt({"id": 17, "prompt": "x"}).id == "17"
    done = cli("submit", write_jsonl(tmp_path / "twice.jsonl", [{"id": 9, "prompt": "x"}, {"id": "9", "prompt": "y"}]))
    assert done.returncode == 2
    assert 'line 2: the id "9" is also the id of line 1' in done.stderr


COLUMNS = {"answer": "18", "level": 3, "ratio": 1.0, "big": 2**70, "tags": ["a", None], "metadata": {"é": True}}


@pytest.mark.parametrize("line", [{"id": "q", "prompt": "x"}, {"custom_id": "q", "body": {"messages": ASK}}])
def test_columns_that_are_not_ours_come_back_in_the_result(
    cli: Cli, store: JobStore, tmp_path: Path, line: dict[str, Any]
) -> None:
    lines = [line | {"custom_id" if "body" in line else "id": f"q-{n}"} | COLUMNS | {"n_th": n} for n in range(40)]
    job_id = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", lines)).stdout.strip()
    run_job(store, job_id)
    results = [json.loads(text) for text in cli("results", job_id).stdout.splitlines()]
    assert [result["input"] for result in results] == [COLUMNS | {"n_th": n} for n in range(40)]


def test_keep_chooses_the_columns_that_come_back(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "x"} | COLUMNS])
    for words, expected in (("none", None), ("level,answer", {"answer": "18", "level": 3})):
        job_id = cli("submit", path, "--keep", words).stdout.strip()
        run_job(store, job_id)
        assert json.loads(cli("results", job_id).stdout).get("input") == expected


def test_columns_of_added_lines_come_back_too(cli: Cli, store: JobStore, tmp_path: Path) -> None:
    job_id = cli("submit", write_jsonl(tmp_path / "a.jsonl", [{"prompt": "x"}])).stdout.strip()
    assert cli("extend", job_id, write_jsonl(tmp_path / "b.jsonl", [{"prompt": "y", "answer": 5}])).returncode == 0
    run_job(store, job_id)
    results = [json.loads(text) for text in cli("results", job_id).stdout.splitlines()]
    assert [result.get("input") for result in results] == [None, {"answer": 5}]


def test_a_key_that_is_nearly_one_of_ours_is_an_error_unless_it_is_kept_by_name(cli: Cli, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "x", "temprature": 1}])
    done = cli("submit", path)
    assert done.returncode == 2
    assert "did you mean `temperature`? If it is a column, add --keep temprature" in done.stderr
    assert cli("submit", path, "--keep", "temprature").returncode == 0


def test_a_line_whose_prompt_is_in_a_column_is_shown_a_template(cli: Cli, tmp_path: Path) -> None:
    lines = [{"question": "What is 2 + 3?", "answer": "5"}] * 60
    done = cli("submit", write_jsonl(tmp_path / "prompts.jsonl", lines))
    assert done.returncode == 2
    assert "lines 1-60: the line has neither `prompt` nor `messages`" in done.stderr
    assert "Nothing was stored. Add what is suggested, or correct the file." in done.stderr
    assert "Try --template '{{ question }}'" in done.stderr
    assert "did you mean" not in done.stderr


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (("prompt_id", "prompt_text"), "prompt_text"),
        (("PostId", "Title", "Body"), "Title"),
        (("act", "date", "User_Question"), "User_Question"),
        (("number", "prompts"), "prompts"),
    ],
)
def test_the_template_that_is_shown_names_the_likeliest_column(
    cli: Cli, tmp_path: Path, columns: tuple[str, ...], shown: str
) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [dict.fromkeys(columns, "some text")])
    done = cli("submit", path)
    assert done.returncode == 2
    assert f"--template '{{{{ {shown} }}}}'" in done.stderr
    assert cli("submit", path, "--template", f"{{{{ {shown} }}}}").returncode == 0
