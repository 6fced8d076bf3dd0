"""Every system gets the same requests, and as many of them as its part says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.peers.programs.peer_run import check_ids
from benchmarks.peers.systems import EVERYTHING, SYSTEMS
from benchmarks.peers.tasks.plan import Plan
from benchmarks.peers.tasks.records import MAX_TOKENS, SCHEMA, is_valid, pattern
from benchmarks.peers.tasks.task import Task, read_tasks, write_tasks
from benchmarks.peers.tasks.task_file import check_results, write_prompts
from benchmarks.random_model import TOKENS, fill_vocabulary
from jobs.files.formats.line_decoder import LineDecoder, LineRules

PLAN = Plan(
    measures=EVERYTHING,
    repeat=3,
    requests=64,
    other_seeds=(1, 2),
    large_requests=256,
    lines=(1, 8),
    batch_sizes=(1, 4),
)


def test_the_batch_workload_has_the_documented_size() -> None:
    (task,) = [task for task in PLAN.tasks(SYSTEMS["transformers"], 0, 150_000) if task.kind == "batch"]
    assert (task.requests, task.input_tokens, task.output_tokens) == (64, 9832, 7484)


def test_fewer_requests_are_the_first_ones_of_more() -> None:
    batches = [task for task in PLAN.tasks(SYSTEMS["run"], 0, 150_000) if task.kind == "batch" and task.seed == 0]
    largest = max(batches, key=lambda task: task.requests)
    assert {task.requests for task in batches} == {1, 8, 64, 256}
    for task in batches:
        assert task.prompts == largest.prompts[: task.requests]
        assert task.lengths == largest.lengths[: task.requests]


def test_curves_are_drawn_from_the_first_round_alone() -> None:
    sizes = [[task.requests for task in PLAN.tasks(SYSTEMS["run"], number, 150_000)] for number in (0, 1)]
    assert sizes == [[64, 64, 64, 256, 1, 8, 128, 128], [64, 64, 64, 256, 128, 128]]


def test_prompts_that_begin_alike_differ_after_their_beginning() -> None:
    for system in ("run", "openvino", "vllm"):
        short, long = (task for task in PLAN.tasks(SYSTEMS[system], 1, 150_000) if task.shares)
        for task, shared in ((short, 600), (long, 4000)):
            assert task.requests == 128
            prompts = [task.primer, *task.prompts]
            assert len({tuple(prompt[:shared]) for prompt in prompts}) == 1
            assert len({prompt[shared] for prompt in prompts}) > 100
            assert {20 <= len(prompt) - shared <= 80 for prompt in prompts} == {True}
            assert {8 <= length <= 24 for length in task.lengths} == {True}


def test_all_systems_get_the_same_requests() -> None:
    ours, theirs = (PLAN.tasks(SYSTEMS[key], 0, 150_000) for key in ("engine", "llamacpp"))
    assert [task for task in theirs if task not in ours] == []


def test_records_have_the_prompts_of_the_batch_and_only_for_systems_that_take_schemas() -> None:
    plan = replace(PLAN, measures=("batch", "records"))
    for key in ("run", "openvino", "vllm"):
        batch, records = plan.tasks(SYSTEMS[key], 1, 150_000)
        assert (records.kind, records.prompts, set(records.lengths)) == ("records", batch.prompts, {MAX_TOKENS})
    assert [task.kind for task in plan.tasks(SYSTEMS["llamacpp"], 0, 150_000)] == ["batch"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rating": 6},
        {"rating": True},
        {"rating": 2.5},
        {"is_customer": "yes"},
        {"category": "none"},
        {"category": ["order"]},
        {"tags": []},
        {"tags": ["bug"] * 5},
        {"tags": ["insect"]},
        {"more": 1},
    ],
)
def test_a_record_is_valid_just_if_the_schema_says_so(wrong: dict[str, Any]) -> None:
    right = {name: field.get("enum", [field.get("minimum", True)])[0] for name, field in SCHEMA["properties"].items()}
    right["tags"] = ["bug", "praise"]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert len(right) == 12 and validator.is_valid(right) and is_valid(json.dumps(right))
    assert not validator.is_valid({**right, **wrong}) and not is_valid(json.dumps({**right, **wrong}))
    assert not is_valid(json.dumps({name: right[name] for name in list(right)[1:]}))
    assert not is_valid(json.dumps(right)[:-1]) and not is_valid(json.dumps([right]))
    assert re.fullmatch(pattern(), _compact(right))
    assert not re.fullmatch(pattern(), _compact({**right, **wrong}))


@pytest.mark.parametrize("field", ["rating", "year", "amount"])
def test_the_expression_for_records_takes_the_numbers_of_the_schema(field: str) -> None:
    record = {name: field.get("enum", [True])[0] for name, field in SCHEMA["properties"].items()}
    record |= {"rating": 1, "year": 1990, "amount": 0, "tags": ["bug"]}
    low, high = SCHEMA["properties"][field]["minimum"], SCHEMA["properties"][field]["maximum"]
    for number in {*range(low - 2, low + 100), *range(high - 100, high + 3)}:
        text = _compact({**record, field: number})
        assert bool(re.fullmatch(pattern(), text)) is (low <= number <= high), number


def _compact(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


def test_a_prompt_file_asks_for_records_and_its_results_say_how_many_are_valid(tmp_path: Path) -> None:
    prompts, results = tmp_path / "prompts.jsonl", tmp_path / "results.jsonl"
    task = Task("records", 0, [[1, 2], [3]], [MAX_TOKENS] * 2)
    write_prompts(task, prompts)
    decoder = LineDecoder(LineRules())
    for place, line in enumerate(prompts.read_bytes().splitlines()):
        prompt = decoder.decode(line, place, place + 1)
        assert prompt.invalid is None and prompt.constraint is not None
        assert (prompt.constraint.kind, json.loads(prompt.constraint.text)) == ("json", SCHEMA)
    lines = [{"completion": "{", "usage": {"completion_tokens": count}} for count in (5, 7)]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert check_results(task, results) == {"output_tokens": 12, "longest_output": 7, "valid_lines": 0}


def test_tasks_read_back_as_they_were_written(tmp_path: Path) -> None:
    tasks = PLAN.tasks(SYSTEMS["engine"], 0, 1000)
    write_tasks(tmp_path / "tasks.jsonl", tasks)
    assert read_tasks(tmp_path / "tasks.jsonl") == tasks


def test_a_peer_that_stops_early_or_makes_up_ids_has_no_rate() -> None:
    task = Task("batch", 0, [[1], [2]], [2, 1])
    check_ids(task, [[5, 6], [7]], 8)
    with pytest.raises(SystemExit, match=r"\[2, 1\] tokens were asked for, \[1, 1\] came"):
        check_ids(task, [[5], [7]], 8)
    with pytest.raises(SystemExit, match="outside the vocabulary of 8"):
        check_ids(task, [[5, 8], [7]], 8)


def test_a_random_model_has_as_many_tokens_as_qwen3() -> None:
    small = {"added_tokens": [{"id": 1, "content": "<|end|>"}], "model": {"vocab": {"a": 0}, "merges": []}}
    filled = fill_vocabulary(small)
    ids = [*filled["model"]["vocab"].values(), 1]
    assert sorted(ids) == list(range(TOKENS))
    assert small["model"] == {"vocab": {"a": 0}, "merges": []}
