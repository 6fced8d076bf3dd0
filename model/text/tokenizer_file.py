"""Loading `tokenizer.json`, which is not trusted: files that could take endless time or memory are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import tokenizers

from jobs.errors import ModelUnusable
from model.text.text_encoder import QWEN_PATTERN, is_panic
from model.text.token_lower_bound import pre_tokenizer_steps
from model.text.tokenizer_probe import PATIENCE_SECONDS

MAX_FILE_BYTES = 256 << 20  # Qwen3's file has 11 MB
MAX_ADDED_TOKENS = 100_000  # Qwen3 has 26; speech models have 65,536
MAX_ADDED_TOKEN_CHARS = 256
DAMAGED = "Download the model again."


class _AddedToken(msgspec.Struct):
    content: str


class _File(msgspec.Struct):
    added_tokens: list[_AddedToken] = []
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None


def load_backend(file: Path) -> tokenizers.Tokenizer:
    """Load a tokenizer from a file and switch off truncation and padding.

    Raises:
        ModelUnusable: The file is missing, damaged or beyond a limit, or the tokenizer is not byte-level.
    """
    content = _content(file)
    _check(content, file)
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except BaseException as error:  # the library has no narrower class, and its panics are not `Exception`s
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise ModelUnusable(f"{file} cannot be read: {error}.", DAMAGED) from error
    backend.no_truncation()
    backend.no_padding()
    return backend


def _content(file: Path) -> _File:
    """Read the parts of the file that must be checked before the library loads it."""
    if not file.is_file():
        raise ModelUnusable(
            f"There is no tokenizer.json in {file.parent}.", "Name the folder that holds the model's files."
        )
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ModelUnusable(f"{file} has {size:,} bytes; it may have at most {MAX_FILE_BYTES:,}.", DAMAGED)
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnusable(f"{file} cannot be read: {error}.", DAMAGED) from error


def _check(content: _File, file: Path) -> None:
    decoder = (content.decoder or {}).get("type")
    if decoder != "ByteLevel":
        raise ModelUnusable(
            f"{file} is not a byte-level tokenizer (its decoder is {decoder!r:.40}).",
            "Qwen3's tokenizer is; name a Qwen3 model.",
        )
    if len(content.added_tokens) > MAX_ADDED_TOKENS:
        raise ModelUnusable(
            f"{file} has {len(content.added_tokens):,} added tokens; it may have at most {MAX_ADDED_TOKENS:,}.",
            "Name another model.",
        )
    longest = max((len(token.content) for token in content.added_tokens), default=0)
    if longest > MAX_ADDED_TOKEN_CHARS:
        raise ModelUnusable(
            f"{file} has an added token of {longest:,} characters; it may have at most {MAX_ADDED_TOKEN_CHARS}.",
            "Name another model.",
        )
    known = content.normalizer in (None, {"type": "NFC"}) and all(
        step.get("type") == "ByteLevel" or step.get("pattern") == QWEN_PATTERN
        for step in pre_tokenizer_steps(content.pre_tokenizer or {})
    )
    if not known:
        _probe(content, file)


def _probe(content: _File, file: Path) -> None:
    """Test an unknown normalizer and pre-tokenizer in a helper process with limits.

    Raises:
        ModelUnusable: The helper found a fault, or it exceeded its time or memory.
    """
    parts = json.dumps({"normalizer": content.normalizer, "pre_tokenizer": content.pre_tokenizer})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "model.text.tokenizer_probe"],
            input=parts,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        fault, status = done.stdout.strip(), done.returncode
    except subprocess.TimeoutExpired:
        fault, status = "", -1
    if fault or status:
        raise ModelUnusable(
            f"{file} cannot be used: its normalizer or pre-tokenizer "
            f"{fault or 'takes too much time or memory for a short text'}.",
            "Name another model.",
        )
