"""Embeddings and scores through the whole path (command, server, queue, worker, store) against transformers."""

from __future__ import annotations

import csv
from array import array
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from openai.types import CreateEmbeddingResponse
from pyarrow import parquet
from torch.nn.functional import cosine_similarity

from model.text.tokenizer import Tokenizer
from testing.models.byte_level_tokenizer import END_OF_TEXT
from testing.models.embedding_checkpoint import write_embedding_checkpoint, write_reranker_checkpoint
from testing.processes.command_line import environment, qwen_batch, read_jsonl, write_jsonl

TEXTS = ["Paris is the capital of France.", "x", "Rome was not built in a day. " * 8, "Grüße, 世界"]
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def run(tmp_path: Path, source: Path, model: Path, output: str, *options: str) -> Path:
    """Run a file with a model, and return the file of results."""
    words: list[str | Path] = ["run", source, "-o", tmp_path / output, "--model", model, "--no-compile", *options]
    done = qwen_batch(*words, env=environment(tmp_path / "state"), timeout=280)
    assert done.returncode == 0, done.stderr
    return tmp_path / output


@pytest.mark.slow
def test_embeddings_of_a_table_and_of_an_openai_file_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = write_embedding_checkpoint(tmp_path / "embedder")
    tokenizer = Tokenizer.from_folder(folder)
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([str(place), text] for place, text in enumerate(TEXTS))])
    query = "Instruct: Find it\nQuery:{{ text }}"
    table = parquet.read_table(
        run(tmp_path, tmp_path / "texts.csv", folder, "out.parquet", "--template", query, "--embed")
    )
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    body = {"model": "embedder", "input": TEXTS, "instruction": "Find it", "dimensions": 16}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    (result,) = read_jsonl(run(tmp_path, write_jsonl(tmp_path / "in.jsonl", [line]), folder, "out.jsonl"))
    answer = CreateEmbeddingResponse.model_validate(result["response"]["body"])
    lengths = []
    for text, row, found in zip(TEXTS, table["embedding"].to_pylist(), answer.data, strict=True):
        ids = [*tokenizer.encode(f"Instruct: Find it\nQuery:{text}"), END_OF_TEXT]
        lengths.append(len(ids))
        with torch.inference_mode():
            state = reference(torch.tensor([ids])).last_hidden_state[0, -1]
        assert float(cosine_similarity(torch.tensor(row), state, dim=0)) >= 0.99999
        assert float(cosine_similarity(torch.tensor(found.embedding), state[:16], dim=0)) >= 0.99999
        assert array("f", found.embedding) != array("f", row[:16])  # each has the length 1
    assert answer.usage.prompt_tokens == sum(lengths)


@pytest.mark.slow
def test_scores_of_documents_are_those_of_the_model_card(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = write_reranker_checkpoint(tmp_path / "reranker", max_position_embeddings=1024)
    tokenizer = Tokenizer.from_folder(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    labels = [tokenizer.token_id("no"), tokenizer.token_id("yes")]
    expected = []
    for text in TEXTS:
        pair = f"<Instruct>: Judge\n<Query>: Where is Paris?\n<Document>: {text}"
        ids = [token for part in (PREFIX, pair, SUFFIX) for token in tokenizer.encode(part)]
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1, labels]
        expected.append(float(logits.log_softmax(0)[1].exp()))
    line = {"id": "a", "query": "Where is Paris?", "documents": TEXTS, "instruction": "Judge", "top_n": 3}
    (result,) = read_jsonl(run(tmp_path, write_jsonl(tmp_path / "in.jsonl", [line]), folder, "out.jsonl"))
    order = sorted(range(len(TEXTS)), key=lambda place: -expected[place])[:3]
    assert [each["index"] for each in result["results"]] == order
    scores = [each["relevance_score"] for each in result["results"]]
    assert scores == pytest.approx([expected[place] for place in order], abs=1e-4)
