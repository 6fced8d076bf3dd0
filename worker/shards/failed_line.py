"""The result of a line that has no completion."""

from __future__ import annotations

from jobs.records.completion import Completion, ErrorCode
from jobs.records.prompt import Prompt


def failed_line(prompt: Prompt, code: ErrorCode, message: str) -> Completion:
    """An error result. What a message quotes from the line may not be Unicode; it is escaped, so it can be stored."""
    printable = message.encode(errors="backslashreplace").decode()
    return Completion.failed_prompt(prompt, code, printable)
