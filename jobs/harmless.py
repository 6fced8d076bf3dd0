"""Text that others wrote (ids, file names, error messages) on its way to a terminal or a log."""

from __future__ import annotations

import re

# A URL's user and password end with an @ before the first slash. In a Redis URL nobody may have escaped slashes and
# spaces, so they end with the line's last @; a path made of such a URL has one slash. PASSWORD is our own example.
_USER_AND_PASSWORD = re.compile(
    r"(?i:\b((?:rediss?|unix):/{1,2})[^\n]*@|\b([a-z][a-z0-9+.-]*://)[^\s/?#]*@)|([?&](?:ssl_)?password=)[^\s&'\"]*"
)
_EXAMPLES = re.compile(r"redis://\[?(?:USER)?:?PASSWORD@")


def harmless(text: str) -> str:
    r"""The text on one line, for everybody's eyes.

    Every character that a terminal might obey is written as an escape (`\x1b`): control characters, invisible and
    direction-changing ones, and lone surrogates. Users and passwords of URLs are hidden.
    """
    text = without_credentials(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def harmless_lines(text: str) -> str:
    """The same for a message whose line breaks are meant."""
    return "\n".join(harmless(line) for line in text.split("\n"))


def without_credentials(text: str) -> str:
    """The text with `***` for the user and the password of each URL in it."""
    if ":/" not in text and "password=" not in text.lower():
        return text
    return "\n".join(_USER_AND_PASSWORD.sub(_hidden, line) for line in text.split("\n"))


def has_credentials(text: str) -> bool:
    """Whether the text holds a URL with a user or a password."""
    return without_credentials(text) != text


def unicode_text(text: str) -> str:
    r"""A file's name as text that can be stored: bytes that are not UTF-8 become escapes such as `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def _hidden(found: re.Match[str]) -> str:
    if _EXAMPLES.match(found[0]):
        return found[0]
    scheme = found[1] or found[2]
    return f"{scheme}***@" if scheme else f"{found[3]}***"
