"""Make the results of lines that ask for embeddings or for a ranking: OpenAI's objects, and fields of native lines."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from jobs.files.results.origin import Origin
from jobs.files.results.pooled.float_texts import float32_json
from jobs.records.completion import Completion, RankedDocument


def embedding_body(completion: Completion, origin: Origin) -> dict[str, Any]:
    """Return the list of embeddings of the OpenAI API. Embeddings in base64 are little-endian float32."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": _shown(values, completion.as_base64)}
            for place, values in enumerate(completion.embeddings)
        ],
        "model": origin.model,
        "usage": _usage(completion),
    }


def ranking_body(completion: Completion, origin: Origin, key: str) -> dict[str, Any]:
    """Return a ranking in the form of vLLM, Cohere and Jina.

    Args:
        completion: A completion with a ranking.
        origin: Where the completion comes from.
        key: Unique part of the object's id.
    """
    return {
        "id": f"rerank-{key}",
        "model": origin.model,
        "results": ranked_documents(completion),
        "usage": _usage(completion),
    }


def pooled_fields(completion: Completion) -> dict[str, Any]:
    """Return the fields of a native result instead of `completion` and `finish_reason`. They are null for an error."""
    if completion.endpoint == "rerank":
        return {"results": ranked_documents(completion) if completion.error is None else None}
    shown = [_shown(values, completion.as_base64) for values in completion.embeddings]
    return {"embeddings": shown} if len(shown) > 1 else {"embedding": shown[0] if shown else None}


def ranked_documents(completion: Completion) -> list[dict[str, Any]]:
    """Return the documents of a ranking, the most relevant one first."""
    return [_ranked(document) for document in completion.ranking]


def _ranked(document: RankedDocument) -> dict[str, Any]:
    shown: dict[str, Any] = {"index": document.index, "relevance_score": document.score}
    return shown if document.text is None else {**shown, "document": {"text": document.text}}


def _shown(values: bytes, as_base64: bool) -> str | msgspec.Raw:
    return base64.b64encode(values).decode() if as_base64 else float32_json(values)


def _usage(completion: Completion) -> dict[str, int]:
    tokens = completion.usage.prompt_tokens if completion.usage is not None else 0
    return {"prompt_tokens": tokens, "total_tokens": tokens}
