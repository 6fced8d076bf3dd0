"""Lines that ask for embeddings or a ranking, in both formats, and the models that can answer them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobs.errors import InvalidInput
from jobs.files.prompt_file import PromptFile
from jobs.records.constraint import Constraint
from jobs.records.line_defaults import LineDefaults
from jobs.records.model_card import ModelCard
from jobs.records.prompt import NO_COLUMNS, EmbedWish, Prompt, RerankWish
from jobs.stores.packing import pack_prompts, unpack_prompts
from jobs.submission.checking import check_file
from jobs.submission.submit_options import LineOptions, SubmitOptions

Decode = Callable[..., Prompt]
Why = Callable[..., str]
DOCUMENTS = ["Paris is in France.", "", "Rome is in Italy."]


@pytest.fixture
def embedder() -> ModelCard:
    return ModelCard(
        "demo", 1000, 2048, has_chat_template=True, kind="embedding", embedding_size=64, prompts={"query": "Q:"}
    )


def openai(url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "demo"} | body}


def embed(**body: Any) -> dict[str, Any]:
    return openai("/v1/embeddings", **body)


def rerank(**body: Any) -> dict[str, Any]:
    return openai("/v1/rerank", **{"query": "Where is Paris?", "documents": DOCUMENTS} | body)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("a text", ["a text"]),
        ([1, 2, 3], [(1, 2, 3)]),
        (["one", "two"], ["one", "two"]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
        (["one", [3]], ["one", (3,)]),
    ],
)
def test_one_input_or_several_become_the_parts_of_a_line(
    decode: Decode, embedder: ModelCard, said: object, parts: list[object]
) -> None:
    for line in (embed(input=said), {"id": "a", "embed": said}):
        prompt = decode(line, card=embedder)
        assert prompt.invalid is None
        assert (prompt.id, prompt.endpoint, prompt.embed) == ("a", "embeddings", EmbedWish())
        found = [part.text if part.text is not None else part.token_ids for part in prompt.parts()]
        assert found == parts
        assert unpack_prompts(pack_prompts([prompt]).value, "key") == [prompt]


def test_what_a_line_says_about_its_embeddings_is_kept(decode: Decode, embedder: ModelCard) -> None:
    said = {"dimensions": 32, "encoding_format": "base64", "instruction": "Find it", "truncate_prompt_tokens": 9}
    prompt = decode({"id": "a", "embed": "x", **said}, card=embedder)
    assert prompt.embed == EmbedWish(dimensions=32, as_base64=True, instruction="Find it")
    assert (prompt.truncate_prompt_tokens, prompt.truncation_side) == (9, "right")
    assert prompt.columns == NO_COLUMNS
    assert decode(embed(input="x", **said), card=embedder).embed == prompt.embed
    named = decode({"id": "a", "embed": "x", "prompt_name": "query"}, card=embedder)
    assert named.embed == EmbedWish(prompt_name="query")


def test_other_keys_of_a_native_line_come_back_as_columns(decode: Decode, embedder: ModelCard) -> None:
    prompt = decode({"id": "a", "embed": "x", "author": "Ada", "query": "q"}, card=embedder)
    assert json.loads(bytes(prompt.columns)) == {"author": "Ada", "query": "q"}


def test_beside_a_prompt_the_new_keys_are_columns_as_before(decode: Decode) -> None:
    prompt = decode({"id": "a", "prompt": "x", "embed": "y", "instruction": "z"})
    assert (prompt.embed, prompt.endpoint) == (None, "native")
    assert json.loads(bytes(prompt.columns)) == {"embed": "y", "instruction": "z"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (embed(), "`input` is missing; it must be a text, a list of token ids, or a list of these"),
        (embed(input=""), '`input` is ""; it must be a text or a list of token ids, and not empty'),
        (embed(input=[]), "`input` is an empty list; it must be"),
        (embed(input=["a", ""]), '`input[1]` is ""; it must be'),
        (embed(input=["a"] * 2049), "`input` has 2,049 texts; at most 2,048 per line are allowed"),
        (embed(input=[-1]), "`input` holds -1; a token id must be from 0"),
        (embed(input=[1000]), "`prompt` holds the token id 1,000; the vocabulary of demo is from 0 to 999"),
        (embed(input="a", dimensions=0), "`dimensions` is 0; it must be a whole number from 1"),
        (embed(input="a", dimensions=65), "`dimensions` is 65; embeddings of demo have 1 to 64 values"),
        (embed(input="a", encoding_format="int8"), '`encoding_format` is "int8"; it must be "float" or "base64"'),
        (embed(input="a", temperature=1), '"temperature" is not a known key'),
        (embed(input="a", normalize=False), "`normalize` is false; it is not supported: embeddings always have"),
        (embed(input="a", prompt_name="doc"), '`prompt_name` is "doc"; the names of demo are: "query"'),
        (embed(input="a", prompt_name="query", instruction="x"), "both `instruction` and `prompt_name`"),
        ({"id": "a", "embed": "x", "dimension": 8}, '"dimension" is not a known key; did you mean `dimensions`?'),
    ],
)
def test_a_bad_line_is_told_what_is_wrong(why: Why, embedder: ModelCard, bad: dict[str, Any], reason: str) -> None:
    assert reason in why(bad, card=embedder)


def test_a_bad_native_line_keeps_its_endpoint(decode: Decode, embedder: ModelCard) -> None:
    assert decode({"id": "a", "embed": ""}, card=embedder).endpoint == "embeddings"
    assert decode({"id": "a", "query": "", "documents": [1]}).endpoint == "rerank"


def test_documents_become_the_parts_of_a_line(decode: Decode) -> None:
    body = {"top_n": 2, "return_documents": True, "instruction": "Be strict"}
    native = {"id": "a", "query": "Where is Paris?", "documents": [{"text": DOCUMENTS[0]}, *DOCUMENTS[1:]], **body}
    for line in (rerank(**body), native):
        prompt = decode(line)
        assert prompt.invalid is None
        assert (prompt.endpoint, prompt.columns) == ("rerank", NO_COLUMNS)
        assert prompt.rerank == RerankWish("Where is Paris?", "Be strict", 2, True)
        assert [part.text for part in prompt.parts()] == DOCUMENTS
        assert unpack_prompts(pack_prompts([prompt]).value, "key") == [prompt]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (rerank(query=""), '`query` is ""; it must be a text that is not empty'),
        (rerank(documents=[]), "`documents` is an empty list; it must be a list of at least one text"),
        (rerank(documents=["a", 5]), "`documents[1]` is 5; it must be a text"),
        (rerank(documents=["a"] * 2049), "`documents` has 2,049 texts; at most 2,048 per line are allowed"),
        (rerank(top_n=0), "`top_n` is 0; it must be a whole number from 1 to 2,048"),
        (rerank(return_documents="yes"), '`return_documents` is "yes"; it must be true or false'),
        (rerank(max_tokens=5), '"max_tokens" is not a known key'),
    ],
)
def test_a_bad_ranking_is_told_what_is_wrong(why: Why, bad: dict[str, Any], reason: str) -> None:
    assert reason in why(bad)


def test_lines_are_refused_by_models_that_do_not_make_what_they_want(why: Why, embedder: ModelCard) -> None:
    chat = {"id": "a", "messages": [{"role": "user", "content": "Hi"}]}
    for line in (chat, {"id": "a", "prompt": "Hi"}):
        assert "this asks for a text, but demo makes only embeddings" in why(line, card=embedder)
    assert "this asks for a ranking, but demo makes only embeddings" in why(rerank(), card=embedder)
    assert "Qwen/Qwen3-Reranker-0.6B" in why(rerank(), card=embedder)
    assert "this asks for embeddings, but demo makes texts; name an embedding model" in why(embed(input="a"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lines": LineOptions(n=2)}, "-n 2 has no meaning: demo makes embeddings and no texts"),
        ({"line_defaults": LineDefaults(score=("a", "b"))}, "--score has no meaning: demo makes embeddings"),
        ({"line_defaults": LineDefaults(constraint=Constraint("regex", "a"))}, "a regular expression has no meaning"),
    ],
)
def test_a_job_of_embeddings_refuses_options_for_texts(
    tmp_path: Path, embedder: ModelCard, options: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"embed": "a text"}')
    with PromptFile.open(str(path), io.BytesIO()) as file, pytest.raises(InvalidInput, match=reason):
        check_file(file, SubmitOptions("demo", card=embedder, **options))


def test_the_values_of_a_job_for_texts_leave_a_ranking_as_it_is(decode: Decode) -> None:
    ranking = decode(rerank())
    values = LineDefaults(thinking=False, constraint=Constraint("regex", "a"), score=("a", "b"))
    assert values.applied_to(ranking) == ranking


def test_a_line_for_an_unknown_model_is_taken(decode: Decode) -> None:
    assert decode(embed(input="a"), card=None).invalid is None


def test_cards_of_older_workers_are_those_of_models_that_make_texts() -> None:
    old = {"name": "m", "vocab_size": 9, "max_model_len": 9, "has_chat_template": True}
    card = msgspec.json.decode(json.dumps(old), type=ModelCard)
    assert (card.kind, card.embedding_size, card.prompts) == ("text", None, {})
