"""What is wrong with one line of a prompt file."""

from __future__ import annotations


class LineInvalid(ValueError):
    """A line cannot be run as it is. The message names the key, its value and what is allowed; no line number."""
