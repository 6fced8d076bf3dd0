"""Results with embeddings and rankings: OpenAI's objects, native lines and tables."""

from __future__ import annotations

import base64
import json
import random
import struct
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from msgspec import structs
from openai.types import CreateEmbeddingResponse
from pyarrow import parquet
from pyarrow.csv import read_csv

from jobs.files.results.kept_columns import LineInput
from jobs.files.results.native_lines import native_line
from jobs.files.results.openai_lines import openai_line
from jobs.files.results.pooled.float_texts import float32_texts
from jobs.files.results.results_file import write_results
from jobs.files.writing.destination import LocalFile
from jobs.records.completion import Completion, ErrorCode, RankedDocument, Usage
from jobs.records.prompt import EmbedWish, Prompt
from jobs.records.sampling import FinishReason
from jobs.stores.packing import decode_completion, encode_completion
from tests.formats.results.test_result_lines import job, parsed

ONE, TWO = array("f", [0.1, -0.25, 1e-7]), array("f", [0.0, 1.0, 3.4e38])


def kept(**columns: Any) -> LineInput:
    """What a line with these columns said."""
    return LineInput(msgspec.Raw(json.dumps(columns).encode()))


def embeddings(*vectors: array[float], **more: Any) -> Completion:
    return Completion(
        index=0,
        id="a",
        finish_reason=FinishReason.STOP,
        usage=Usage(7, 0),
        endpoint="embeddings",
        embeddings=tuple(each.tobytes() for each in vectors),
        **more,
    )


def ranking(*documents: RankedDocument) -> Completion:
    return Completion(0, "a", finish_reason=FinishReason.STOP, usage=Usage(7, 0), endpoint="rerank", ranking=documents)


def test_embeddings_have_the_shape_of_the_openai_api() -> None:
    body = parsed(openai_line(embeddings(ONE, TWO), job("openai")))["response"]["body"]
    answer = CreateEmbeddingResponse.model_validate(body, strict=True)
    assert [array("f", each.embedding) for each in answer.data] == [ONE, TWO]
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.object, answer.model, answer.data[0].object) == ("list", "demo", "embedding")
    assert answer.usage.to_dict() == {"prompt_tokens": 7, "total_tokens": 7}


def test_embeddings_in_base64_are_little_endian_float32() -> None:
    body = parsed(openai_line(embeddings(ONE, as_base64=True), job("openai")))["response"]["body"]
    assert struct.unpack("<3f", base64.b64decode(body["data"][0]["embedding"])) == tuple(ONE)


def test_a_native_line_has_one_embedding_or_several() -> None:
    one = parsed(native_line(embeddings(ONE)))
    assert list(one) == ["id", "embedding", "usage", "error"]
    assert array("f", one["embedding"]) == ONE
    several = parsed(native_line(embeddings(ONE, TWO)))
    assert [array("f", each) for each in several["embeddings"]] == [ONE, TWO]


def test_a_failed_line_has_a_null_where_its_embedding_would_be() -> None:
    prompt = Prompt(0, "a", text="x", endpoint="embeddings", embed=EmbedWish())
    failed = parsed(native_line(Completion.failed_prompt(prompt, ErrorCode.PROMPT_TOO_LONG, "Why.")))
    assert list(failed) == ["id", "embedding", "usage", "error"]
    assert failed["embedding"] is None


def test_the_store_keeps_embeddings_in_base64() -> None:
    encoded = encode_completion(embeddings(ONE))
    assert base64.b64encode(ONE.tobytes()) in encoded
    assert decode_completion(encoded, "key") == embeddings(ONE)


@pytest.mark.parametrize("fields", [{}, {"text": "x", "embeddings": (b"abcd",)}])
def test_a_completion_has_exactly_one_kind_of_result(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a text, embeddings, a ranking or an error"):
        Completion(0, "a", **fields)


def test_numbers_are_the_shortest_that_give_the_same_float32() -> None:
    assert float32_texts(array("f", [0.1, 1 / 3, 1e-5, 0.000988546, 16777216.0]).tobytes()) == [
        "0.1",
        "0.33333334",
        "1e-05",
        "0.000988546",  # seven digits give the same value, too: 0.0009885459
        "16777216",
    ]
    chance = random.Random(1)
    values = array("f", [chance.gauss(0, 0.03) for _ in range(2000)])
    texts = float32_texts(values.tobytes())
    assert array("f", map(float, texts)) == values
    shortest = pa.array(values.tolist(), type=pa.float32()).cast(pa.string()).to_pylist()
    assert [len(f"{float(text):.9g}") for text in shortest] == [len(f"{float(text):.9g}") for text in texts]


def test_a_ranking_has_the_shape_of_other_services() -> None:
    ranked = ranking(RankedDocument(2, 0.9, "Rome"), RankedDocument(0, 0.1))
    body = parsed(openai_line(ranked, job("openai")))["response"]["body"]
    assert body["results"] == [
        {"index": 2, "relevance_score": 0.9, "document": {"text": "Rome"}},
        {"index": 0, "relevance_score": 0.1},
    ]
    assert body["model"] == "demo"
    assert body["id"].startswith("rerank-")
    assert parsed(native_line(ranked))["results"] == body["results"]


def test_a_table_has_a_column_of_float32_lists_and_no_columns_of_texts(tmp_path: Path) -> None:
    results = [
        embeddings(ONE),
        Completion(1, "b", error=None, embeddings=(TWO.tobytes(),), endpoint="embeddings", usage=Usage(3, 0)),
        Completion.failed(2, "c", ErrorCode.PROMPT_TOO_LONG, "Why.", "embeddings"),
    ]
    said = kept(author="Ada", embedding="old")
    write_results(results, job("native"), LocalFile(tmp_path / "out.parquet"), input_of=lambda _: said, partial=True)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert [None if each is None else array("f", each) for each in table["embedding"].to_pylist()] == [ONE, TWO, None]
    assert table["input_embedding"].to_pylist() == ["old"] * 3
    assert table.column_names == [
        *("id", "author", "input_embedding", "prompt_tokens", "error", "error_message", "embedding")
    ]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize("bad_at", [0, 1])
def test_a_bad_line_adds_no_columns_of_texts_to_a_table_of_embeddings(tmp_path: Path, name: str, bad_at: int) -> None:
    good, bad = structs.replace(embeddings(ONE), index=1 - bad_at), Prompt(bad_at, "", invalid="No JSON.", line=9)
    results = sorted([good, Completion.failed_prompt(bad, ErrorCode.INVALID_LINE, "No JSON.")], key=lambda c: c.index)
    write_results(results, job("native"), LocalFile(tmp_path / name), partial=True)
    table = read_csv(tmp_path / name) if name.endswith("csv") else parquet.read_table(tmp_path / name)
    assert table.column_names == ["id", "prompt_tokens", "error", "error_message", "embedding", "line"]
    assert table["error_message"].to_pylist()[bad_at] == "No JSON."


def test_a_table_with_a_text_and_an_embedding_has_the_columns_of_both(tmp_path: Path) -> None:
    text = Completion(1, "b", text="x", finish_reason=FinishReason.STOP, usage=Usage(1, 1))
    write_results([embeddings(ONE), text], job("native"), LocalFile(tmp_path / "out.csv"), partial=True)
    assert {"completion", "finish_reason", "embedding"} <= set(read_csv(tmp_path / "out.csv").column_names)


def test_a_column_of_a_line_with_a_text_may_still_be_called_embedding(tmp_path: Path) -> None:
    answer = Completion(0, "a", text="x", finish_reason=FinishReason.STOP, usage=Usage(1, 1))
    said = kept(embedding=[0.1])
    write_results([answer], job("native"), LocalFile(tmp_path / "out.parquet"), input_of=lambda _: said, partial=True)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.field("embedding").type == pa.list_(pa.float64())
    assert table.column_names[:3] == ["id", "embedding", "completion"]
