"""How prompts and completions lie in the store: compact JSON, and zstd where many lines lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import zstandard

from jobs.completion import Completion
from jobs.prompt import Prompt

ZSTD_LEVEL = 3  # zstd's default: natural text to about a third, at hundreds of MB/s

_encoder = msgspec.json.Encoder()
_prompts = msgspec.json.Decoder(list[Prompt])
_completions = msgspec.json.Decoder(list[Completion])
_completion = msgspec.json.Decoder(Completion)


def pack_prompts(prompts: Sequence[Prompt]) -> bytes:
    """A shard's lines as one compressed value."""
    return _compress(_encoder.encode(prompts))


def unpack_prompts(packed: bytes) -> list[Prompt]:
    """The lines of `pack_prompts`."""
    return _prompts.decode(_decompress(packed))


def encode_completion(completion: Completion) -> bytes:
    """One result line of a running shard."""
    return _encoder.encode(completion)


def decode_completion(encoded: bytes) -> Completion:
    """The completion of `encode_completion`."""
    return _completion.decode(encoded)


def pack_completions(encoded: Mapping[int, bytes]) -> bytes:
    """A shard's results, by line index, as one compressed value in input order. They are not decoded for it."""
    return _compress(b"[" + b",".join(encoded[index] for index in sorted(encoded)) + b"]")


def unpack_completions(packed: bytes) -> list[Completion]:
    """The completions of `pack_completions`, in input order."""
    return _completions.decode(_decompress(packed))


def _compress(raw: bytes) -> bytes:
    # A compressor is cheap to make and not thread-safe.
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(raw)


def _decompress(packed: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed)
