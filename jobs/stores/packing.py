"""Encode prompts and completions for the store: compact JSON, compressed with zstd where a value holds many lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import zstandard

from jobs.errors import RecordDamaged
from jobs.records.completion import Completion
from jobs.records.prompt import Prompt
from jobs.stores.damage import reading

ZSTD_LEVEL = 3  # zstd's default: reduces natural text to about a third, at hundreds of MB/s

_encoder = msgspec.json.Encoder()
_prompts = msgspec.json.Decoder(list[Prompt])
_completions = msgspec.json.Decoder(list[Completion])
_completion = msgspec.json.Decoder(Completion)


@dataclass(frozen=True)
class PackedPrompts:
    """Lines of one shard, as the store keeps them."""

    num_lines: int
    value: bytes  # of `pack_prompts`


def pack_prompts(prompts: Sequence[Prompt]) -> PackedPrompts:
    """Encode a shard's lines as one compressed value."""
    return PackedPrompts(len(prompts), _compress(_encoder.encode(prompts)))


def encode_prompt(prompt: Prompt) -> bytes:
    """Encode one line for `join_prompts`."""
    return _encoder.encode(prompt)


def join_prompts(encoded: Sequence[bytes]) -> PackedPrompts:
    """Return what `pack_prompts` returns. Each item is a value of `encode_prompt`."""
    return PackedPrompts(len(encoded), _compress(_json_array(encoded)))


def unpack_prompts(packed: bytes | None, key: str) -> list[Prompt]:
    """Decode the value of a `PackedPrompts`, read from `key`. Raises `RecordDamaged` if it cannot be decoded."""
    if packed is None:
        raise RecordDamaged(key, "it is gone")
    with reading(key):
        return _prompts.decode(_decompress(packed))


def encode_completion(completion: Completion) -> bytes:
    """Encode one result line of a running shard."""
    return _encoder.encode(completion)


def decode_completion(encoded: bytes, key: str) -> Completion:
    """Decode a value of `encode_completion`, which was read from `key`. Raises `RecordDamaged`."""
    with reading(key):
        return _completion.decode(encoded)


def pack_completions(encoded: Mapping[int, bytes]) -> bytes:
    """Join a shard's encoded results into one compressed value in input order. Does not decode them.

    `encoded` maps a line's index to its value of `encode_completion`.
    """
    return _compress(_json_array([encoded[index] for index in sorted(encoded)]))


def unpack_completions(packed: bytes, key: str) -> list[Completion]:
    """Decode a value of `pack_completions`, which was read from `key`, in input order. Raises `RecordDamaged`."""
    with reading(key):
        return _completions.decode(_decompress(packed))


def packed_text(packed: bytes, key: str) -> str:
    """Return the JSON in a value of `pack_prompts` or `pack_completions`, casefolded. Raises `RecordDamaged`."""
    with reading(key):
        return _decompress(packed).decode().casefold()


def _json_array(encoded: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(encoded) + b"]"


def _compress(raw: bytes) -> bytes:
    # A new compressor per call: it is cheap to make and not thread-safe.
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(raw)


def _decompress(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
