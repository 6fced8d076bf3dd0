"""Messages between HTTP processes and workers about interactive requests. All messages travel as JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import structs

from jobs.records.completion import Completion, LineError, Logprobs
from jobs.records.prompt import Prompt


class OnlineRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt at an interactive request. Equal requests of two attempts give equal texts on equal devices.

    Raises:
        ValueError: The prompt has no seed.
    """

    id: str  # req_…, unique among all HTTP processes
    server: str  # the HTTP process that gets the replies
    model: str  # the served model
    prompt: Prompt  # as a batch line, with a seed in its settings
    deadline_at: float  # seconds since the epoch by the store's clock; a worker ends the request then
    attempt: int = 0  # rises each time that the request is given to another worker
    stream: bool = False  # True: send the text in pieces
    project: str = "default"

    def __post_init__(self) -> None:
        if self.prompt.settings.seed is None:
            raise ValueError(f"the request {self.id} has no seed, so a second worker could not repeat its text")


class Abort(msgspec.Struct, frozen=True):
    """Order to a worker: stop working on a request, because nobody waits for it any more."""

    request_id: str


class Reply(msgspec.Struct, frozen=True, tag_field="is"):
    """Message of a worker about one attempt at a request. The first reply is `Taken` or `Refused`."""

    request_id: str
    attempt: int


class Taken(Reply, frozen=True, tag="taken"):
    """The worker has accepted the request. Pieces and one `End` or `Gone` follow."""


class Refused(Reply, frozen=True, tag="refused"):
    """The request cannot run on any worker of the model. Nothing follows."""

    error: LineError
    param: str | None = None  # key of the request's body that is at fault, if the worker knows it


class PieceTokens(msgspec.Struct, frozen=True):
    """The tokens whose text begins in a piece, with their log-probabilities."""

    first: int  # tokens of this choice's answer that came before
    starts: tuple[int, ...]  # for each token, the characters of the answer that come before its text
    logprobs: Logprobs

    def then(self, following: PieceTokens) -> PieceTokens:
        """Return these tokens and those of the next piece together."""
        return PieceTokens(self.first, self.starts + following.starts, self.logprobs.then(following.logprobs))


class Piece(Reply, frozen=True, omit_defaults=True, tag="piece"):
    """The next part of a completion's text. All pieces of a kind together are the whole text of that kind."""

    offset: int  # characters of this choice and kind that came before
    text: str  # not empty; never a part of a character or of a stop string
    choice: int = 0  # index of the completion, from 0
    kind: Literal["content", "reasoning"] = "content"
    tokens: PieceTokens | None = None  # only of content, if the client asks for log-probabilities

    def then(self, following: Piece) -> Piece:
        """Return this piece and the next one of the same choice and kind together."""
        tokens = self.tokens
        if following.tokens is not None:
            tokens = following.tokens if tokens is None else tokens.then(following.tokens)
        return structs.replace(self, text=self.text + following.text, tokens=tokens)


class End(Reply, frozen=True, tag="end"):
    """The request is finished. Nothing follows."""

    completion: Completion  # the whole result with usage and times, or an error


class Gone(Reply, frozen=True, tag="gone"):
    """The worker stops before the request is finished. Another worker may make the next attempt. Nothing follows."""


AnyReply: TypeAlias = Taken | Refused | Piece | End | Gone


class ReplyEntry(msgspec.Struct, frozen=True):
    """Replies that one worker sent together."""

    worker: str
    number: int  # counts the entries of this worker for this server from 1, so that the reader notices a gap
    replies: tuple[AnyReply, ...]
