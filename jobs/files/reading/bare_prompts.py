"""Prompts without an object around them: a row is a text or a list of messages."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import BinaryIO, Literal

import msgspec

from jobs.files.reading.container import Container
from jobs.files.reading.json_items import HEAD_BYTES
from jobs.files.reading.row import SourceRow

_BEFORE_TEXT = codecs.BOM_UTF8 + b" \t\r\n"


class BarePrompts(Enum):
    """Where a source has prompts without an object around them."""

    NOWHERE = "nowhere"
    IN_ROWS = "in rows"  # a row may be a text or a list of messages
    WHOLE = "whole"  # the whole document is one list of messages


class _Message(msgspec.Struct):
    role: str


class _KnownMessage(msgspec.Struct):
    """Fields that every message of a chat has. Rows of a table with a column `role` rarely have both."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[msgspec.Raw] | None


_decode_chat = msgspec.json.Decoder(list[_KnownMessage]).decode
_decode_prompt = msgspec.json.Decoder(str | list[_Message]).decode
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def bare_prompts_of(head: bytes, container: Container, has_template: bool) -> BarePrompts:
    """Find out from the beginning of a source whether it has prompts without an object around them.

    A template reads each message of an array as a row. Without one, an array of messages is one prompt.

    Args:
        head: The first `HEAD_BYTES` of the content, after decompression.
        container: The source's container.
        has_template: True if a template makes the prompts.
    """
    text = head.lstrip(_BEFORE_TEXT)
    if container is Container.JSON and text.startswith(b"["):
        if not has_template and len(head) < HEAD_BYTES and _is_chat(text):
            return BarePrompts.WHOLE
        text = text[1:].lstrip(_BEFORE_TEXT)
    elif container is not Container.JSONL:
        return BarePrompts.NOWHERE
    return BarePrompts.IN_ROWS if text.startswith((b"[", b'"')) else BarePrompts.NOWHERE


def with_keys(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    """Yield the object `{"prompt": …}` for each row that is a text, and `{"messages": …}` for a list of messages.

    Other rows stay as they are.
    """
    for number, row in rows:
        yield number, _with_key(row) if isinstance(row, bytes) else row


def whole_chat(stream: BinaryIO) -> Iterator[SourceRow]:
    """Yield the only row of a document that is one list of messages.

    Args:
        stream: The document from its first byte on.
    """
    return with_keys([(1, stream.read().removeprefix(codecs.BOM_UTF8))])


def _with_key(row: bytes) -> bytes:
    bare = row.strip()
    if not bare.startswith((b"[", b'"')):
        return row
    try:
        is_text = isinstance(_decode_prompt(bare), str)
    except _NO_JSON:
        return row  # the decoder of lines says what is wrong
    return (b'{"prompt":' if is_text else b'{"messages":') + bare + b"}"


def _is_chat(document: bytes) -> bool:
    try:
        return bool(_decode_chat(document))
    except _NO_JSON:
        return False
