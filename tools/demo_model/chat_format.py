"""Qwen3's conversation format, as far as training writes it. `chat_template.jinja` has the complete format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
EMPTY_THINKING = "<think>\n\n</think>\n\n"  # start of an answer without thinking

Message = Mapping[str, str]  # role and content


def chat_prompt(messages: Iterable[Message], *, empty_thinking: bool) -> str:
    """Return the text of the messages, followed by the start of the assistant's turn."""
    turns = "".join(f"{TURN_START}{message['role']}\n{message['content']}{TURN_END}\n" for message in messages)
    return f"{turns}{TURN_START}assistant\n" + (EMPTY_THINKING if empty_thinking else "")
