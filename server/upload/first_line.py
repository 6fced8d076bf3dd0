"""Refuse an upload that can be no file of a batch, as soon as its first bytes show it."""

from __future__ import annotations

import codecs

import msgspec

from server.middleware.api_error import ApiError

_MAX_HEAD = 2**20  # bytes of the first line that are kept for the check
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}


class FirstLine:
    """Watches the bytes of a file until its first line is complete."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._checked = False

    def watch(self, piece: bytes) -> None:
        """Take the next bytes. Raises `ApiError` if the file is compressed, or its first line is no JSON object."""
        if self._checked:
            return
        self._head += piece[: _MAX_HEAD - len(self._head)]
        text = bytes(self._head).removeprefix(codecs.BOM_UTF8).lstrip()
        if b"\n" in text or len(self._head) >= _MAX_HEAD:
            self._check(text)

    def end(self) -> None:
        """Check a file that has ended. Raises `ApiError`, also for an empty file."""
        text = bytes(self._head).removeprefix(codecs.BOM_UTF8).strip()
        if not self._checked and not text:
            raise _invalid("The file is empty. It must have one JSON object per line.")
        if not self._checked:
            self._check(text)

    def _check(self, text: bytes) -> None:
        self._checked = True
        for magic, name in _COMPRESSED.items():
            if text.startswith(magic):
                raise _invalid(f"The file is compressed ({name}). Upload it uncompressed.")
        line, newline, _ = text.partition(b"\n")
        if not newline and len(self._head) >= _MAX_HEAD and text.startswith(b"{"):
            return  # a very long line; the import checks it
        try:
            msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _invalid(
                "The first line of the file is no JSON object. A batch file is JSONL: one JSON object per line."
            ) from None


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, param="file", code="invalid_file")
