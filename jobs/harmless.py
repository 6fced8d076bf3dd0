"""Text that others wrote (ids, file names, error messages) on its way to a terminal."""

from __future__ import annotations


def harmless(text: str) -> str:
    r"""The text with every character that a terminal might obey written as an escape (`\x1b`), on one line.

    That covers control characters, invisible and direction-changing ones, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def harmless_lines(text: str) -> str:
    """The same for a message whose line breaks are meant."""
    return "\n".join(harmless(line) for line in text.split("\n"))
