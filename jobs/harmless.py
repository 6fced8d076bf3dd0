"""Make untrusted text (ids, file names, error messages) safe for a terminal or a log."""

from __future__ import annotations

import re

# A URL's user and password end with an @ before the first slash. A Redis URL may contain unescaped slashes and spaces,
# so there they end with the line's last @. A URL that was used as a path has one slash. Our own hints hold the example
# PASSWORD, which stays visible.
_USER_AND_PASSWORD = re.compile(
    r"(?i:\b((?:rediss?|unix):/{1,2})[^\n]*@|\b([a-z][a-z0-9+.-]*://)[^\s/?#]*@)|([?&](?:ssl_)?password=)[^\s&'\"]*"
)
# Whoever has the signature of a signed URL can read its file.
_SIGNATURE = re.compile(
    r"(?i)([?&](?:x-(?:amz|goog)-(?:credential|security-token|signature)|sig|signature|token|access_token)=)[^\s&'\"]*"
)
_EXAMPLES = re.compile(r"redis://\[?(?:USER)?:?PASSWORD@")


def harmless(text: str) -> str:
    r"""Return the text on one line, without control characters and credentials.

    Every character that a terminal might interpret becomes an escape such as `\x1b`. These are control characters,
    invisible and direction-changing characters, and lone surrogates. Users, passwords and signatures of URLs become
    `***`.
    """
    text = _SIGNATURE.sub(r"\1***", without_credentials(text))
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def harmless_lines(text: str) -> str:
    """Apply `harmless` to each line of a message, and keep its line breaks."""
    return "\n".join(harmless(line) for line in text.split("\n"))


def without_credentials(text: str) -> str:
    """Return the text with `***` in place of the user and password of each URL in it."""
    if ":/" not in text and "password=" not in text.lower():
        return text
    return "\n".join(_USER_AND_PASSWORD.sub(_hidden, line) for line in text.split("\n"))


def has_credentials(text: str) -> bool:
    """Return whether the text holds a URL with a user or a password."""
    return without_credentials(text) != text


def unicode_text(text: str) -> str:
    r"""Return a file's name as text that can be stored. Bytes that are not UTF-8 become escapes such as `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def _hidden(found: re.Match[str]) -> str:
    if _EXAMPLES.match(found[0]):
        return found[0]
    scheme = found[1] or found[2]
    return f"{scheme}***@" if scheme else f"{found[3]}***"
