"""The error for a bad line of a prompt file."""

from __future__ import annotations


class LineInvalid(ValueError):
    """A line cannot run. The message names the key, its value and the allowed values, but no line number."""
