"""A file that holds no prompts is refused in one line that says what it is and what to do."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

LINE = b'{"prompt": "Hello"}\n'


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return out.getvalue()


def as_json(*objects: object, indent: int | None = None) -> bytes:
    return "".join(json.dumps(each, indent=indent) + "\n" for each in objects).encode()


# Name of the file, content, what the file is, what to do.
WRONG_FILES: dict[str, tuple[str, bytes, str, str]] = {
    "Excel": ("a.xlsx", zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel file", "Save it as CSV"),
    "old Excel": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel or Word file", "as CSV"),
    "Excel named CSV": ("a.csv", zipped("xl/workbook.xml"), "an Excel file", "Save it as CSV"),
    "Word": ("a.docx", zipped("word/document.xml"), "a Word document", "Save it as plain text"),
    "PowerPoint": ("a.pptx", zipped("ppt/presentation.xml"), "a PowerPoint file", "plain text"),
    "OpenDocument": ("a.ods", zipped("mimetype", "content.xml"), "an OpenDocument file", "as CSV"),
    "ZIP": ("a.zip", zipped("prompts.jsonl"), "a ZIP archive", "Unpack it"),
    "damaged ZIP": ("a.zip", zipped("prompts.jsonl")[:20], "a damaged ZIP archive", "download it again"),
    "NumPy archive": ("a.npz", zipped("x.npy"), "a NumPy archive", "Save its rows"),
    "PDF": ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF file", "Copy its text"),
    "RTF": ("a.rtf", b"{\\rtf1\\ansi Hello}", "an RTF document", "Save it as plain text"),
    "PNG": ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG image", "Images are not supported"),
    "JPEG": ("a.jsonl", b"\xff\xd8\xff\xe0" + bytes(20), "a JPEG image", "Images are not supported"),
    "SQLite": ("a.db", b"SQLite format 3\x00" + bytes(99), "an SQLite database", "sqlite3 -csv -header"),
    "pickle": ("a.pkl", b"\x80\x04\x95\x10\x00", "a Python pickle", "Save the rows as JSONL"),
    "NumPy": ("a.npy", b"\x93NUMPY\x01\x00", "a NumPy array", "Save its rows"),
    "Avro": ("a.avro", b"Obj\x01\x04", "an Avro file", "Save it as Parquet"),
    "ORC": ("a.orc", b"ORC\x08\x03", "an ORC file", "Save it as Parquet"),
    "HDF5": ("a.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Save its rows"),
    "GGUF": ("a.gguf", b"GGUF\x03\x00\x00\x00", "a GGUF model file", "--model"),
    "tar": ("a.tar", b"prompts.jsonl".ljust(257, b"\x00") + b"ustar\x0000" + bytes(250), "a tar archive", "Unpack it"),
    "tar.gz": ("a.tgz", gzip.compress(b"p".ljust(257, b"\x00") + b"ustar\x0000" + bytes(250)), "a tar", "Unpack it"),
    "7z": ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive", "Unpack it"),
    "lz4": ("a.lz4", b"\x04\x22\x4d\x18\x64", "compressed with lz4", "lz4 -d"),
    "truncated gzip": ("a.gz", gzip.compress(LINE * 1000)[:60], "ends in the middle of its gzip data", "incomplete"),
    "UTF-16": ("a.jsonl", LINE.decode().encode("utf-16"), "UTF-16", "iconv -f UTF-16 -t UTF-8 a.jsonl"),
    "UTF-16 without a mark": ("a.csv", "id,prompt\na,b\n".encode("utf-16-le"), "UTF-16", "iconv -f UTF-16LE"),
    "UTF-32": ("a.jsonl", LINE.decode().encode("utf-32"), "UTF-32", "iconv -f UTF-32 -t UTF-8 a.jsonl"),
    "UTF-16BE without a mark": ("a.csv", "id,prompt\na,b\n".encode("utf-16-be"), "UTF-16", "iconv -f UTF-16BE"),
    "WAV": ("a.wav", b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00", "a WAV recording", "give a file of text"),
    "WebP": ("a.webp", b"RIFF\x24\x08\x00\x00WEBPVP8 ", "a WebP image", "Images are not supported"),
    "MP4": ("a.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00", "an MP4 video", "Give a file of text"),
    "safetensors": (
        "a.safetensors",
        b"\x40" + bytes(7) + b'{"a":{"dtype":"F32"}}',
        "a safetensors model file",
        "--model",
    ),
    "MessagePack": ("a.msgpack", b"\x81\xa6prompt\xa5Hello", "a MessagePack file", "Save its rows as JSONL"),
    "TFRecord": ("a.tfrecord", b"\x14" + bytes(7) + b"\x12\x34\n\x12\n\x10", "a binary file", "Give a file of text"),
    "text without an ending": ("prompts.gz", b"Hello.\nNo.\n", "not JSON", "add --input-format text"),
    "HTML": ("a.jsonl", b"<!DOCTYPE html>\n<html><body>Not found", "an HTML page", "Download the data itself"),
    "XML": ("a.xml", b'<?xml version="1.0"?><rows/>', "an XML file", "JSONL or CSV"),
    "git-lfs": ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-lfs", "git lfs pull"),
    "YAML": ("a.yaml", b"---\n- prompt: Hello\n", "a YAML file", "JSONL"),
    "script": ("a.sh", b"#!/bin/sh\necho hello\n", "a script", "Give the file that it writes"),
    "notebook": ("a.ipynb", b'{\n "cells": [{"source": []}],\n "nbformat": 4\n}', "a Jupyter notebook", "prompts"),
    "Python": ("a.jsonl", b"{'prompt': 'Hello'}\n", "text of Python dictionaries", "json.dumps"),
    "pretty-printed JSON": ("a.jsonl", as_json({"prompt": "a"}, indent=2), "pretty-printed JSON", "jq -c ."),
    "an object of objects": (
        "a.json",
        as_json({"a": {"prompt": "x"}, "b": {"prompt": "y"}}, indent=1),
        "one JSON object of several objects",
        "jq -c '.[]' a.json",
    ),
    "an object of objects on a line": (
        "a.json",
        as_json({"a": {"prompt": "x"}, "b": {"prompt": "y"}}),
        "one JSON object of several objects",
        "jq -c '.[]' a.json",
    ),
    "an object without a text": ("a.json", as_json({"config": {"a": 1}}), "neither `prompt`", "Add --template"),
    "a batch object": ("a.json", as_json({"id": "b", "object": "batch"}), "an OpenAI batch object", "of requests"),
    "OpenAI's results": (
        "a.jsonl",
        as_json({"custom_id": "a", "response": {}, "error": None}),
        "results of",
        "requests",
    ),
    "Anthropic's results": (
        "a.jsonl",
        as_json({"custom_id": "a", "result": {}}),
        "results of an Anthropic",
        "requests",
    ),
    "Gemini's results": (
        "a.jsonl",
        as_json({"key": "a", "response": {"candidates": [], "usageMetadata": {}}}),
        "results of a Gemini batch",
        "Give the file of requests",
    ),
    "Gemini's results, beside their requests": (
        "a.jsonl",
        as_json({"status": "", "processed_time": "2026-01-05", "request": {"contents": []}, "response": {}}),
        "results of a Gemini batch",
        "Give the file of requests",
    ),
    "an error of a Gemini batch": (
        "a.jsonl",
        as_json({"key": "a", "error": {"code": 13, "message": "Internal"}}),
        "results of a Gemini batch",
        "Give the file of requests",
    ),
    "our results": (
        "a.jsonl",
        as_json({"id": "a", "completion": "b", "finish_reason": "stop", "usage": {}, "error": None}),
        "results of qwen-batch",
        "prompts",
    ),
    "an error of a server": ("a.jsonl", as_json({"error": {"message": "No such key"}}), "No such key", "again"),
    "empty file": ("a.jsonl", b"", "is empty", "one JSON object per line"),
    "empty array": ("a.json", b"[]", "is empty", "one JSON object per line"),
    "CSV of a header": ("a.csv", b"id,prompt\n", "is empty", "a row below the header"),
    "CSV in Latin-1": ("a.csv", b"id,prompt\na,caf\xe9\n", "not UTF-8", "iconv -f WINDOWS-1252"),
    "truncated JSON": (
        "a.json",
        b'[{"prompt": "a"},\n {"promp',
        "at item 2 of its array: unterminated string.",
        "again",
    ),
    "JSON object without rows": ("a.json", as_json({"config": {"a": 1}}, indent=1), "pretty-printed JSON", "jq -c ."),
    "truncated Parquet": ("a.parquet", b"PAR1" + bytes(60), "cannot be read as Parquet", "again"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_wrong_file_is_told_what_it_is_and_what_to_do(bare_cli: Cli, tmp_path: Path, case: str) -> None:
    name, content, what, hint = WRONG_FILES[case]
    if name.endswith(".parquet") and content.startswith(b"PAR1"):
        pytest.importorskip("pyarrow", reason="the extra `tables` is not installed")
    (tmp_path / name).write_bytes(content)
    done = bare_cli("run", name, "-o", "out.jsonl")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Traceback" not in done.stderr
    error = " ".join(done.stderr.split("Error: ")[1].split())
    assert what in error
    assert hint in error
    assert not (tmp_path / "out.jsonl").exists()
