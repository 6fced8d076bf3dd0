"""A random model at a high temperature calls strict tools with valid arguments, in both formats of calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from engine.load import LoadedEngine
from engine.request import Request
from jobs.constraints.grammar import grammar_of
from jobs.constraints.tool_calls import strict_calls
from jobs.records.model_card import ToolFormat, builtin_demo_folder
from jobs.records.prompt import Prompt
from jobs.records.sampling import FinishReason, SamplingParams
from model.grammar import Grammars
from model.text.tool_calls import ToolCallParser
from testing.models.cpu_engine import load_cpu_engine
from testing.models.tiny_checkpoint import write_tiny_checkpoint
from tests.engine.schemas import closed

NAME, DAYS = {"type": "string", "maxLength": 6}, {"type": "integer", "minimum": 1, "maximum": 14}
SCHEMAS: dict[str, dict[str, Any]] = {
    "weather": closed(city=NAME, days=DAYS, unit={"enum": ["C", "F"]}),
    "note": closed(
        text={"type": ["string", "null"], "maxLength": 4}, tags={"type": "array", "items": DAYS, "maxItems": 2}
    ),
    "now": closed(exact={"type": "boolean"}),
}
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": schema, "strict": True}}
    for name, schema in SCHEMAS.items()
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedEngine]:
    """A tiny random model with the demo's tokenizer, which has the tags of calls."""
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("random"), vocab_size=1280)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / name).write_bytes((builtin_demo_folder() / name).read_bytes())
    found = load_cpu_engine(Path(folder), torch.float32, 100, threads=1, speculate=False)
    yield found
    found.engine.shutdown()


@pytest.mark.parametrize("format", ["hermes", "xml"])
def test_calls_that_a_random_model_makes_by_itself_are_valid(loaded: LoadedEngine, format: ToolFormat) -> None:
    constraint = strict_calls(Prompt(0, "a", messages=({},), tools=TOOLS), format)
    parser = ToolCallParser.of(loaded.tokenizer, format)
    assert constraint is not None and parser is not None
    grammar = Grammars(loaded.tokenizer, loaded.eos_token_ids).compiled(grammar_of(constraint))
    likely = ((parser.start_id, 11.0), *((token_id, 8.0) for token_id in loaded.eos_token_ids))
    settings: dict[str, Any] = {"max_tokens": 120, "temperature": 2.0, "logit_bias": likely}
    batch = [Request((7, 9, seed), SamplingParams(seed=seed, **settings), grammar=grammar) for seed in range(12)]
    outputs = [ticket.future.result(120) for ticket in loaded.engine.submit_many(batch)]
    answers = [parser.parse(output.token_ids, output.text, TOOLS) for output in outputs]
    for output, answer in zip(outputs, answers, strict=True):
        is_cut = output.finish_reason is FinishReason.LENGTH
        assert answer.num_malformed <= is_cut, output.text  # what was cut off stays in the content
    calls = [call for answer in answers for call in answer.calls]
    assert calls and any(answer.content for answer in answers)
    for call in calls:
        jsonschema.validate(json.loads(call.arguments), SCHEMAS[call.name])
