"""How prompts and completions lie in the store: compact JSON, and zstd where many lines lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import zstandard

from jobs.errors import RecordDamaged
from jobs.records.completion import Completion
from jobs.records.prompt import Prompt
from jobs.stores.damage import reading

ZSTD_LEVEL = 3  # zstd's default: natural text to about a third, at hundreds of MB/s

_encoder = msgspec.json.Encoder()
_prompts = msgspec.json.Decoder(list[Prompt])
_completions = msgspec.json.Decoder(list[Completion])
_completion = msgspec.json.Decoder(Completion)


def pack_prompts(prompts: Sequence[Prompt]) -> bytes:
    """A shard's lines as one compressed value."""
    return _compress(_encoder.encode(prompts))


def unpack_prompts(packed: bytes | None, key: str) -> list[Prompt]:
    """The lines of `pack_prompts`. Raises `RecordDamaged` if `key` does not hold them."""
    if packed is None:
        raise RecordDamaged(key, "it is gone")
    with reading(key):
        return _prompts.decode(_decompress(packed))


def encode_completion(completion: Completion) -> bytes:
    """One result line of a running shard."""
    return _encoder.encode(completion)


def decode_completion(encoded: bytes, key: str) -> Completion:
    """The completion of `encode_completion`. Raises `RecordDamaged` if `key` does not hold one."""
    with reading(key):
        return _completion.decode(encoded)


def pack_completions(encoded: Mapping[int, bytes]) -> bytes:
    """A shard's results, by line index, as one compressed value in input order. They are not decoded for it."""
    return _compress(b"[" + b",".join(encoded[index] for index in sorted(encoded)) + b"]")


def unpack_completions(packed: bytes, key: str) -> list[Completion]:
    """The completions of `pack_completions`, in input order. Raises `RecordDamaged` if `key` does not hold them."""
    with reading(key):
        return _completions.decode(_decompress(packed))


def _compress(raw: bytes) -> bytes:
    # A compressor is cheap to make and not thread-safe.
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(raw)


def _decompress(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
