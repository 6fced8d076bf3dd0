"""Make the result of a line without a completion."""

from __future__ import annotations

from jobs.records.completion import Completion, ErrorCode
from jobs.records.prompt import Prompt


def failed_line(prompt: Prompt, code: ErrorCode, message: str) -> Completion:
    """Return an error result. Text in `message` that is not Unicode, quoted from a line, is escaped for the store."""
    printable = message.encode(errors="backslashreplace").decode()
    return Completion.failed_prompt(prompt, code, printable)
