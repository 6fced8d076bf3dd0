"""Parameters, bodies and examples of the operations in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from jobs.batches.batch import Batch, BatchPhase, Counts
from jobs.batches.status import view_of
from jobs.uploads.stored_file import StoredFile
from server.api.batch_object import BatchObject, object_of
from server.api.files import FileObject
from server.api.files import object_of as file_object
from server.api.models import ModelObject
from server.schema import bodies

Json = dict[str, Any]

_CREATED = 1_760_000_000.0
_FILE_ID, _BATCH_ID = "file-01h455vb4pex5vsknk084sn02q", "batch_01h455vb4pex5vsknk084sn02q"
_FILE = file_object(
    StoredFile(_FILE_ID, "batch.jsonl", "batch", 4_218, "0" * 64, _CREATED, _CREATED + 30 * 86_400),
)
_BATCH = object_of(
    view_of(
        Batch(
            _BATCH_ID,
            "/v1/chat/completions",
            _FILE_ID,
            "24h",
            _CREATED,
            _CREATED + 86_400,
            phase=BatchPhase.COMPLETED,
            metadata={"run": "nightly"},
            model="demo",
            total=20,
            counts=Counts(19, 1, 812, 304),
            output_file_id="file-01h455vb4pex5vsknk084sn02r",
            error_file_id="file-01h455vb4pex5vsknk084sn02s",
            in_progress_at=_CREATED + 1,
            finalizing_at=_CREATED + 9,
            ended_at=_CREATED + 10,
        ),
        None,
    )
)
_MODEL = ModelObject("demo", 2048)
_MESSAGES = [{"role": "user", "content": "What is 2 + 3?"}]


@dataclass(frozen=True)
class Body:
    """A body of a request or an answer, with an example."""

    shape: type[msgspec.Struct] | None = None  # None: bytes, or an object that OpenAI's documentation describes
    example: object = None
    media_type: str = "application/json"


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    answer: Body
    query: Mapping[str, Json] | None = None  # schema of each parameter of the query
    body: Body | None = None


def _number(minimum: int, maximum: int) -> Json:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


_CURSOR: Mapping[str, Json] = {"after": {"type": "string"}, "order": {"enum": ["asc", "desc"]}}
_BATCH_ANSWER = Operation(Body(BatchObject, _BATCH))
_LINES = Body(media_type="application/jsonl")
_TEXT = Body(media_type="text/plain")
_ONLINE = Body()  # one JSON object, or events if the request asks for a stream

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/v1/files"): Operation(
        Body(bodies.FileList, bodies.FileList([_FILE], _FILE.id, _FILE.id, False)),
        {"purpose": {"type": "string"}, "limit": _number(1, 10_000), **_CURSOR},
    ),
    ("POST", "/v1/files"): Operation(
        Body(FileObject, _FILE), body=Body(bodies.UploadForm, media_type="multipart/form-data")
    ),
    ("GET", "/v1/files/{id}"): Operation(Body(FileObject, _FILE)),
    ("DELETE", "/v1/files/{id}"): Operation(
        Body(bodies.DeletedFile, bodies.DeletedFile(_FILE.id, "file", True)),
    ),
    ("GET", "/v1/files/{id}/content"): Operation(Body(media_type="application/octet-stream")),
    ("GET", "/v1/batches"): Operation(
        Body(bodies.BatchList, bodies.BatchList([_BATCH], _BATCH.id, _BATCH.id, False)),
        {"limit": _number(1, 100), **_CURSOR},
    ),
    ("POST", "/v1/batches"): Operation(
        Body(BatchObject, _BATCH),
        body=Body(
            bodies.CreateBatch,
            bodies.CreateBatch(_FILE_ID, "/v1/chat/completions", "24h", {"run": "nightly"}, None),
        ),
    ),
    ("GET", "/v1/batches/{id}"): _BATCH_ANSWER,
    ("POST", "/v1/batches/{id}/cancel"): _BATCH_ANSWER,
    ("GET", "/v1/batches/{id}/results"): Operation(_LINES),
    ("GET", "/v1/models"): Operation(Body(bodies.ModelList, bodies.ModelList([_MODEL]))),
    ("GET", "/v1/models/{id}"): Operation(Body(ModelObject, _MODEL)),
    ("POST", "/v1/chat/completions"): Operation(
        _ONLINE, body=Body(bodies.ChatRequest, bodies.ChatRequest("demo", _MESSAGES))
    ),
    ("POST", "/v1/completions"): Operation(
        _ONLINE, body=Body(bodies.CompletionRequest, bodies.CompletionRequest("demo", "2 + 3 ="))
    ),
    ("POST", "/v1/responses"): Operation(
        _ONLINE, body=Body(bodies.ResponseRequest, bodies.ResponseRequest("demo", "What is 2 + 3?"))
    ),
    ("POST", "/v1/score"): Operation(
        Body(bodies.Scores, bodies.Scores([[0.75, 0.25]], "demo", {"prompt_tokens": 9})),
        body=Body(
            bodies.ScoreRequest, bodies.ScoreRequest("demo", "Is it a capital? ", ["Rome", "Turin"], [9693, 2152])
        ),
    ),
    ("POST", "/v1/embeddings"): Operation(
        Body(), body=Body(bodies.EmbeddingRequest, bodies.EmbeddingRequest("qwen3-embedding", ["What is 2 + 3?"]))
    ),
    ("POST", "/v1/rerank"): Operation(
        Body(),
        body=Body(
            bodies.RerankRequest, bodies.RerankRequest("qwen3-reranker", "What is 2 + 3?", ["2 + 3 is 5.", "Hello."])
        ),
    ),
    ("GET", "/health"): Operation(Body(bodies.Status, bodies.Status("ok"))),
    ("GET", "/ready"): Operation(Body(bodies.Status, bodies.Status("ready"))),
    ("GET", "/metrics"): Operation(_TEXT),
    ("GET", "/openapi.json"): Operation(Body()),
}
PAGE = Operation(Body(media_type="text/html"))  # operation of every path that is not named above
