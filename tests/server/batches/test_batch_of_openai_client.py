"""OpenAI's client, unmodified, from the upload to the results."""

from __future__ import annotations

import pytest
from openai import NotFoundError, OpenAI
from openai.types.chat import ChatCompletion

from testing.processes.worker_under_test import WorkerUnderTest
from tests.server.conftest import chat_line, create, jsonl, lines_of, wait_for


def test_a_batch_runs_from_the_upload_to_both_files(client: OpenAI, worker: WorkerUnderTest) -> None:
    good = [chat_line(number) for number in range(8)]
    bad = chat_line(8, "long " * 3000)
    batch = create(client, *good, bad, metadata={"team": "é"})
    assert (batch.status, batch.request_counts.total if batch.request_counts else None) == ("validating", 0)
    done = wait_for(client, batch.id)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.to_dict() == {"total": 9, "completed": 8, "failed": 1}
    assert (done.metadata, done.model, done.errors) == ({"team": "é"}, "demo", None)
    assert done.created_at <= (done.in_progress_at or 0) <= (done.finalizing_at or 0) <= (done.completed_at or 0)
    output = lines_of(client, done.output_file_id)
    assert [line["custom_id"] for line in output] == [f"r{number}" for number in range(8)]
    completions = [ChatCompletion.model_validate(line["response"]["body"]) for line in output]
    assert done.usage is not None
    assert done.usage.output_tokens == sum(each.usage.completion_tokens for each in completions if each.usage)
    assert done.usage.total_tokens == sum(each.usage.total_tokens for each in completions if each.usage)
    (failed,) = lines_of(client, done.error_file_id)
    assert failed["custom_id"] == "r8"
    assert failed["response"]["body"]["error"]["code"] == "context_length_exceeded"


def test_an_uploaded_file_comes_back_as_it_was_until_it_is_deleted(client: OpenAI) -> None:
    content = jsonl(chat_line(1), chat_line(2))
    file = client.files.create(file=("päth/../in.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose, file.status) == (len(content), "in.jsonl", "batch", "processed")
    assert client.files.content(file.id).content == content
    assert client.files.retrieve(file.id) == file
    assert client.files.delete(file.id).deleted
    with pytest.raises(NotFoundError, match=f"No such File object: {file.id}"):
        client.files.retrieve(file.id)


def test_models_are_those_that_workers_have_served(client: OpenAI, worker: WorkerUnderTest) -> None:
    assert "demo" in [model.id for model in client.models.list()]
    assert client.models.retrieve("demo").owned_by == "qwen-batch"
    with pytest.raises(NotFoundError, match="Qwen/Qwen3"):
        client.models.retrieve("Qwen/Qwen3-0.6B")
