"""Errors for files that hold no prompts. Each says what the file is and what to do."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import msgspec

from jobs.errors import InvalidInput
from jobs.files.remote.urls import is_url

_BINARY = {
    b"%PDF-": ("a PDF file", "Copy its text to a CSV or JSONL file."),
    b"\x89PNG": ("a PNG image", "Images are not supported; give a file of text."),
    b"\xff\xd8\xff": ("a JPEG image", "Images are not supported; give a file of text."),
    b"GIF8": ("a GIF image", "Images are not supported; give a file of text."),
    b"SQLite format 3\x00": ("an SQLite database", "Export a table: sqlite3 -csv -header FILE 'SELECT …'"),
    b"\x93NUMPY": ("a NumPy array", "Save its rows as CSV or JSONL."),
    b"\x80\x04": ("a Python pickle", "Pickles are not read, because they can run code. Save the rows as JSONL."),
    b"\x80\x05": ("a Python pickle", "Pickles are not read, because they can run code. Save the rows as JSONL."),
    b"Obj\x01": ("an Avro file", "Save it as Parquet or JSONL."),
    b"ORC": ("an ORC file", "Save it as Parquet or JSONL."),
    b"\x89HDF": ("an HDF5 file", "Save its rows as Parquet or JSONL."),
    b"FEA1": ("a Feather file of version 1", "Save it again with a current pyarrow or pandas."),
    b"GGUF": ("a GGUF model file", "Give the file of prompts here, and the model with --model."),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "Unpack it and give the file inside."),
    b"Rar!": ("a RAR archive", "Unpack it and give the file inside."),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "Decompress it: lz4 -d FILE"),
    b"\x1f\x9d": ("compressed with compress", "Decompress it: uncompress FILE"),
    b"\xff\x06\x00\x00sNaPpY": ("compressed with snappy", "Decompress it first."),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel or Word file", "Save a table as CSV, or a text as plain text."),
    b"\x7fELF": ("a program", "Give a file of prompts."),
}
# Kinds of files whose first bytes differ.
_BINARY_PATTERNS = [
    (
        re.compile(rb"RIFF....WAVE", re.DOTALL),
        ("a WAV recording", "Recordings are not supported; give a file of text."),
    ),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ("a WebP image", _BINARY[b"GIF8"][1])),
    (re.compile(rb"\x00...ftyp", re.DOTALL), ("an MP4 video or another media file", "Give a file of text.")),
    (re.compile(rb".{257}ustar", re.DOTALL), ("a tar archive", "Unpack it and give the file inside.")),
    (re.compile(rb".{4}\x00{4}\{", re.DOTALL), ("a safetensors model file", _BINARY[b"GGUF"][1])),
]
_ZIP = b"PK\x03\x04"
_ZIP_CONTENTS = {
    "xl/": ("an Excel file", "Save it as CSV."),
    "word/": ("a Word document", "Save it as plain text."),
    "ppt/": ("a PowerPoint file", "Save its text as plain text."),
    "content.xml": ("an OpenDocument file", "Save a table as CSV, or a text as plain text."),
    "META-INF/": ("a Java or EPUB archive", "Save its text as plain text."),
}
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"
_UTF16 = "Convert it with `iconv -f UTF-16 -t UTF-8 FILE`."
_TEXT = [
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec"),
        ("a git-lfs pointer, not the file itself", "Fetch the file: git lfs pull"),
    ),
    (
        re.compile(rb"(?i)<!doctype html|<html"),
        ("an HTML page", "Download the data itself, not a page that links to it."),
    ),
    (re.compile(rb"<\?xml"), ("an XML file", "Save its records as JSONL or CSV.")),
    (re.compile(rb"\{\\rtf"), ("an RTF document", "Save it as plain text.")),
    (re.compile(rb"-----BEGIN "), ("a key or a certificate", "Give a file of prompts.")),
    (re.compile(rb"%YAML|---[ \r\n]"), ("a YAML file", "Write its entries as JSONL: one JSON object per line.")),
    (re.compile(rb"#!"), ("a script", "Give the file that it writes.")),
    (re.compile(rb'\{\s*"cells"\s*:'), ("a Jupyter notebook", "Give a file of prompts.")),
]
_LINES = [
    (re.compile(rb"\{'"), ("text of Python dictionaries, not JSON", "Write each of them with json.dumps.")),
    (
        re.compile(rb'\{\s*\n\s+"'),
        (
            "pretty-printed JSON",
            "Put each object on one line: `jq -c . FILE`. It needs `prompt`, `messages`, or columns for --template.",
        ),
    ),
]
_GEMINI_RESULTS = "results of a Gemini batch, not requests"
_GEMINI_ANSWER = {"candidates", "promptFeedback", "usageMetadata"}  # an answer has at least one of these keys
# Keys of the first object of a file -> what such a file is.
_OBJECTS = [
    ({"custom_id", "response", "error"}, "results of an OpenAI batch, not requests", "requests"),
    ({"custom_id", "result"}, "results of an Anthropic batch, not requests", "requests"),
    ({"recordId", "modelOutput"}, "results of a Bedrock batch, not requests", "requests"),
    ({"completion", "finish_reason", "usage"}, "results of qwen-batch, not prompts", "prompts"),
    ({"processed_time", "status", "request"}, _GEMINI_RESULTS, "requests"),
]
_PARTS_OF_LINES = {"body", "modelInput", "params", "request"}  # objects in lines of other services
_BATCH_OBJECT = "an OpenAI batch object, not its requests"
_SECOND_ROUND = " To make prompts of these lines, add --template."
_ASCII = frozenset(b"\t\r\n" + bytes(range(32, 127)))
_FIRST_LINE_BYTES = 2**20
_FIRST_BYTES = 64


def refuse_binary(head: bytes, stream: BinaryIO, name: str) -> None:
    """Raise if the content is binary and holds no rows.

    Args:
        head: First bytes of the content, after decompression.
        stream: The seekable content, whose members are listed if it is a ZIP archive.
        name: The source's name for messages.

    Raises:
        InvalidInput: The message says what the file is and what to do.
    """
    found = _zip_contents(stream) if head.startswith(_ZIP) else _known(head)
    _refuse(found, name)


def refuse_text(head: bytes, name: str) -> None:
    """Raise if the content is text of a format that holds no rows.

    Arguments and errors are those of `refuse_binary`.
    """
    found = _matching(_TEXT, head)
    if found is not None and found[0] == "an HTML page" and is_url(name) and "/blob/" in name:
        found = found[0], "Write /raw/ (GitHub) or /resolve/ (Hugging Face) in place of /blob/."
    _refuse(found, name)


def refuse_zeros(head: bytes, name: str) -> None:
    """Raise if the content begins like a binary file of an unknown kind. No text has a zero byte there.

    Arguments and errors are those of `refuse_binary`.
    """
    if b"\x00" in head[:_FIRST_BYTES]:
        _refuse(("a binary file, and no prompts", "Give a file of text, such as JSONL or CSV, or a table."), name)


def refuse_lines(head: bytes, name: str) -> None:
    """Raise if the content looks like JSON lines but holds no prompts.

    Arguments and errors are those of `refuse_binary`.
    """
    _refuse(_nested(head), name)
    _refuse(_matching(_LINES, head), name)
    try:
        first = msgspec.json.decode(head[:_FIRST_LINE_BYTES].lstrip(_BEFORE_TEXT).partition(b"\n")[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(first, dict):
        return
    if first.get("object") == "batch" and not {"prompt", "messages"} & first.keys():
        _refuse((_BATCH_OBJECT, "Give the file of requests."), name)
    for keys, what, wanted in _OBJECTS:
        if keys <= first.keys():
            _refuse((what, f"Give the file of {wanted}.{_SECOND_ROUND if what.startswith('results') else ''}"), name)
    if _is_gemini_result(first):
        _refuse((_GEMINI_RESULTS, f"Give the file of requests.{_SECOND_ROUND}"), name)
    if first.keys() == {"error"} and isinstance(first["error"], dict):
        said = str(first["error"].get("message", ""))[:200]
        _refuse((f"an error message of a server: {said!r}", "Download the file again."), name)


def _nested(head: bytes) -> tuple[str, str] | None:
    """Return what is said of one object of several objects, such as `{"q1": {"prompt": "a"}, "q2": …}`. Else None."""
    try:
        document = msgspec.json.decode(head.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    values = list(document.values()) if isinstance(document, dict) else []
    if len(values) < 2 or _PARTS_OF_LINES & document.keys() or not all(isinstance(value, dict) for value in values):
        return None
    return "one JSON object of several objects", "Put each of them on a line: `jq -c '.[]' FILE`."


def _is_gemini_result(first: dict[str, object]) -> bool:
    answer = first.get("response")
    if isinstance(answer, dict):
        return bool(_GEMINI_ANSWER & answer.keys())
    return first.keys() == {"key", "error"} and isinstance(first["error"], dict)


def _refuse(found: tuple[str, str] | None, name: str) -> None:
    if found is not None:
        what, hint = found
        raise InvalidInput(f"{name} is {what}.", hint.replace("FILE", name))


def _matching(patterns: Sequence[tuple[re.Pattern[bytes], tuple[str, str]]], head: bytes) -> tuple[str, str] | None:
    text = head.lstrip(_BEFORE_TEXT)
    return next((said for pattern, said in patterns if pattern.match(text)), None)


def _known(head: bytes) -> tuple[str, str] | None:
    if (encoding := _other_encoding(head)) is not None:
        return encoding
    if _is_msgpack(head):
        return "a MessagePack file", "Save its rows as JSONL."
    plain = (said for magic, said in _BINARY.items() if head.startswith(magic))
    return next(plain, None) or next((said for pattern, said in _BINARY_PATTERNS if pattern.match(head)), None)


def _other_encoding(head: bytes) -> tuple[str, str] | None:
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32; it must be UTF-8", _UTF16.replace("16", "32")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16; it must be UTF-8", _UTF16
    if (order := _utf16_without_mark(head)) is not None:
        return "UTF-16 without a byte order mark; it must be UTF-8", _UTF16.replace("16", f"16{order}")
    return None


def _utf16_without_mark(head: bytes) -> str | None:
    """Return the order of the bytes, LE or BE, if the first characters are ASCII in UTF-16. Else None."""
    even, odd = head[:64:2], head[1:64:2]
    for order, zeros, letters in (("LE", odd, even), ("BE", even, odd)):
        if len(odd) >= 2 and not any(zeros) and all(byte in _ASCII for byte in letters):
            return order
    return None


def _is_msgpack(head: bytes) -> bool:
    """Return whether the content begins with a small map whose first key is a short text of ASCII."""
    if len(head) < 3 or not (0x81 <= head[0] <= 0x8F and 0xA1 <= head[1] <= 0xBF):
        return False
    key = head[2 : 2 + head[1] - 0xA0]
    return len(key) == head[1] - 0xA0 and all(byte in _ASCII for byte in key)


def _zip_contents(stream: BinaryIO) -> tuple[str, str]:
    try:
        names: Iterable[str] = zipfile.ZipFile(stream).namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "a damaged ZIP archive", "Copy or download it again."
    for beginning, said in _ZIP_CONTENTS.items():
        if any(name.startswith(beginning) for name in names):
            return said
    if any(name.endswith(".npy") for name in names):
        return "a NumPy archive", "Save its rows as CSV or JSONL."
    return "a ZIP archive", "Unpack it and give the file inside."
