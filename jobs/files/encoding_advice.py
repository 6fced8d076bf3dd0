"""Advise the author of a text that is not UTF-8: how to convert it."""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Container
from typing import BinaryIO

from jobs.files.remote.urls import is_url

NOT_UTF8 = "the line is not UTF-8"  # how the fault of such a line begins

# Encodings of languages whose letters are not Latin: the name for iconv, Python's codec, and the first bytes of the
# characters that most texts consist of. Each of these standards has its common characters together.
_ENCODINGS: list[tuple[str, str, Container[int]]] = [
    ("EUC-KR", "euc_kr", {0xA1, 0xA3, *range(0xB0, 0xC9)}),
    ("GB18030", "gb18030", {0xA1, 0xA3, *range(0xB0, 0xD8)}),
    ("EUC-JP", "euc_jp", {0xA1, 0xA3, 0xA4, 0xA5, *range(0xB0, 0xD0)}),
    ("BIG5", "big5", range(0xA1, 0xC7)),
    ("SHIFT_JIS", "shift_jis", range(0x81, 0x98)),
    ("WINDOWS-1251", "cp1251", range(0xE0, 0x100)),
]
_MIN_SHARE = 0.8  # of the characters that are not ASCII, as many must be common ones
_MAX_NAMED = 3
_BLOCK_BYTES = 2**20
_HIGH = re.compile(rb"[\x80-\xff]+")
# Bytes that no text in WINDOWS-1252 has: five have no meaning, the others are signs such as the florin and the dagger.
_NOT_WESTERN = re.compile(rb"[\x81\x83\x86-\x88\x8d\x8f\x90\x98\x9d]")


def encoding_advice(content: bytes, name: str) -> str:
    """Return how to convert a text to UTF-8. Only the user can tell whether a guess at its encoding is right.

    Args:
        content: Some of the text, with at least one byte that is not UTF-8. It may end within a character.
        name: The source's name for messages.
    """
    file = "" if is_url(name) or name.lower() == "standard input" else f" {shlex.quote(name)}"
    if _is_mostly_utf8(content):
        return f"Most of it is UTF-8. Correct the wrong bytes, or drop them: `iconv -c -f UTF-8 -t UTF-8{file}`."
    if _is_western(content):
        return f"Convert it: `iconv -f WINDOWS-1252 -t UTF-8{file}`, and look at the result."
    if likely := _likely(content):
        return (
            f"It may be {_listed(likely)}. Convert it: `iconv -f {likely[0]} -t UTF-8{file}`, and look at the result."
        )
    return f"Ask its author for the encoding, and convert it: `iconv -f ENCODING -t UTF-8{file}`."


def advice_for_stream(stream: BinaryIO, name: str) -> str | None:
    """Return the advice for the first block of a stream that is not UTF-8. None if all of it is UTF-8."""
    utf8 = codecs.getincrementaldecoder("utf-8")()
    while block := stream.read(_BLOCK_BYTES):
        try:
            utf8.decode(block)
        except UnicodeDecodeError:
            return encoding_advice(block, name)
    return None


def _is_mostly_utf8(content: bytes) -> bool:
    characters = [character for character in content.decode(errors="surrogateescape") if not character.isascii()]
    wrong = sum(map(_is_wrong_byte, characters))
    return wrong < len(characters) - wrong


def _is_wrong_byte(character: str) -> bool:
    return "\udc80" <= character <= "\udcff"


def _is_western(content: bytes) -> bool:
    """Return whether most letters that are not ASCII stand alone between others, as accented letters do."""
    lengths = [len(run) for run in _HIGH.findall(content)]
    return 2 * lengths.count(1) > sum(lengths) and _NOT_WESTERN.search(content) is None


def _likely(content: bytes) -> list[str]:
    """Return the encodings in which almost all characters are common ones, the likeliest first."""
    shares = {name: _share_of_common(content, codec, first_bytes) for name, codec, first_bytes in _ENCODINGS}
    return sorted((name for name in shares if shares[name] >= _MIN_SHARE), key=lambda name: -shares[name])[:_MAX_NAMED]


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _share_of_common(content: bytes, codec: str, first_bytes: Container[int]) -> float:
    """Return the share of common characters among those that are not ASCII. 0 if the encoding cannot be `codec`."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(content)  # accepts the beginning of a character at the end
    except UnicodeDecodeError:
        return 0.0
    coded = [character.encode(codec) for character in text if not character.isascii()]
    common = sum(each[0] in first_bytes and (codec != "gb18030" or each[1] >= 0xA1) for each in coded)
    return common / max(len(coded), 1)
