"""Shapes of bodies for the schema. The handlers check bodies by hand, so that each error names its key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from jobs.records.prompt import MAX_LOGPROBS
from server.api.batch_object import BatchObject
from server.api.files import FileObject
from server.api.listing import Listing
from server.api.models import ModelObject

_Metadata = Annotated[dict[str, str], msgspec.Meta(max_length=16)]


class Expiry(msgspec.Struct, frozen=True):
    """A lifetime, counted from the creation."""

    anchor: str
    seconds: Annotated[int, msgspec.Meta(ge=3_600, le=30 * 86_400)]


class UploadForm(msgspec.Struct, frozen=True):
    """The fields of the form that uploads a file. `expires_after` has the fields `[anchor]` and `[seconds]`."""

    file: Annotated[str, msgspec.Meta(extra_json_schema={"contentMediaType": "application/jsonl"})]
    purpose: str
    expires_after: Expiry | None = None


class CreateBatch(msgspec.Struct, frozen=True):
    """A new batch. The window is `24h`, or any time from `10s` to `7d`."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: _Metadata | None = None
    output_expires_after: Expiry | None = None


class FileList(Listing, frozen=True):
    """A page of files."""

    data: list[FileObject]


class BatchList(Listing, frozen=True):
    """A page of batches."""

    data: list[BatchObject]


class ModelList(msgspec.Struct, frozen=True):
    """All models."""

    data: list[ModelObject]
    object: str = "list"


class DeletedFile(msgspec.Struct, frozen=True):
    """The id of a deleted file."""

    id: str
    object: str
    deleted: bool


class ErrorBody(msgspec.Struct, frozen=True):
    """The error, for people (`message`) and for programs (`code`)."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: ErrorBody


class Status(msgspec.Struct, frozen=True):
    """The state of a process."""

    status: str


class ChatRequest(msgspec.Struct, frozen=True):
    """A conversation to go on with. It may have every setting that a line of a batch may have."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = False
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


class CompletionRequest(msgspec.Struct, frozen=True):
    """A text to go on with. It may have every setting that a line of a batch may have."""

    model: str
    prompt: str | list[str]
    stream: bool = False
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


class ResponseRequest(msgspec.Struct, frozen=True):
    """An input to answer. Nothing is stored."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool = False
    include: list[Literal["message.output_text.logprobs"]] | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


class ScoreRequest(msgspec.Struct, frozen=True):
    """A query and items. The answer says how likely each label token follows the query with an item."""

    model: str
    query: str | list[int]
    items: str | list[Any]
    label_token_ids: list[int]
    apply_softmax: bool = False
    item_first: bool = False


class Scores(msgspec.Struct, frozen=True):
    """The probability of each label after each item."""

    scores: list[list[float]]
    model: str
    usage: dict[str, int]
    object: str = "scoring"


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Texts, or lists of token ids, whose embeddings are wanted. `encoding_format` is `float` or `base64`."""

    model: str
    input: str | list[Any]
    dimensions: int | None = None
    encoding_format: str = "float"
    instruction: str | None = None
    prompt_name: str | None = None


class RerankRequest(msgspec.Struct, frozen=True):
    """Documents to order by their relevance to a query."""

    model: str
    query: str
    documents: list[str]
    top_n: int | None = None
    return_documents: bool = False
    instruction: str | None = None
