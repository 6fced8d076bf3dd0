"""Encoding of conversations in three stages: check, render, encode. Only the template can write control tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers

from model.text.chat_template import ChatTemplate, Conversation
from model.text.control_tokens import ControlTokens
from model.text.messages import MessagesInvalid, check_json, checked_messages, kind_of
from model.text.text_encoder import BATCH_CHARS, Encoded, TextEncoder, TooManyTokens

# Variables that have a special meaning in transformers, or that would replace the conversation.
_RESERVED_NAMES = ("messages", "chat_template", "tokenize")
_CUT = "CONTINUE_FINAL_MESSAGE_TAG "  # marks the place at which a prompt is cut; transformers' own word


class ChatEncoder:
    """Encodes conversations with one model's template and tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer, encoder: TextEncoder, template: ChatTemplate) -> None:
        """Create an encoder.

        Args:
            backend: The model's tokenizer.
            encoder: An encoder that uses `backend`.
            template: The model's chat template.
        """
        added = backend.get_added_tokens_decoder()
        self._template = template
        self._encoder = encoder
        self._ordinary_encoder = encoder.sibling(_without_added_tokens(backend))
        self._added_ids = {token.content: token_id for token_id, token in added.items()}
        self._added_tokens = ControlTokens(list(self._added_ids))
        self._special_tokens = ControlTokens([token.content for token in added.values() if token.special])

    def encode_each(
        self, conversations: Iterable[tuple[object, Mapping[str, Any]]], max_tokens: int | None = None
    ) -> Iterator[Encoded]:
        """Yield the ids of each conversation, or its error.

        A conversation is a pair of messages and `chat_template_kwargs` (see `Tokenizer.encode_messages`). With the
        argument `continue_final_message`, the prompt ends with the last message's text, as in transformers.
        Conversations are taken from the iterable a few MB at a time.
        """
        taken: deque[_Checked] = deque()  # conversations that the template is rendering

        def to_render() -> Iterator[Conversation | MessagesInvalid]:
            for messages, kwargs in conversations:
                checked = self._checked(messages, kwargs)
                taken.append(checked)
                yield checked.conversation

        unmarked: list[str | ValueError] = []
        size = 0
        for rendered in self._template.render(to_render()):
            checked = taken.popleft()
            mark, text = checked.mark, rendered
            if checked.continues and isinstance(rendered, str):
                text = _cut(rendered)
            if mark is None or not isinstance(text, str):
                unmarked.append(text)
                size += len(text) if isinstance(text, str) else 0
            if mark is not None or size >= BATCH_CHARS:
                yield from self._encoder.encode_each(unmarked, max_tokens)
                unmarked, size = [], 0
            if mark is not None and isinstance(text, str):
                yield self._encode_marked(text, mark, max_tokens)
        yield from self._encoder.encode_each(unmarked, max_tokens)

    def _checked(self, messages: object, kwargs: Mapping[str, Any]) -> _Checked:
        continues = kwargs.get("continue_final_message") is True
        try:
            parts: Any = (checked_messages(messages), *_checked_arguments(kwargs))
            mark = self._special_tokens.mark_for(*parts)
        except MessagesInvalid as error:
            return _Checked(error, None)
        if mark is not None:
            parts = [self._special_tokens.break_up(part, mark) for part in parts]
        if continues:
            *others, last = parts[0]
            parts = ([*others, {**last, "content": last["content"] + _CUT}], *parts[1:])
        return _Checked(Conversation(*parts), mark, continues)

    def _encode_marked(self, text: str, mark: str, max_tokens: int | None) -> Encoded:
        """Encode a prompt in which a mark breaks up the control tokens of messages."""
        ids: list[int] = []
        try:
            for is_added, piece in self._added_tokens.split(text):
                room = None if max_tokens is None else max_tokens - len(ids)
                if is_added:
                    more: list[int] | TooManyTokens = [self._added_ids[piece]]
                else:
                    more = self._ordinary_encoder.encode(piece.replace(mark, ""), room)
                if isinstance(more, TooManyTokens):
                    return TooManyTokens(len(ids) + more.at_least, exact=False)
                ids += more
                if max_tokens is not None and len(ids) > max_tokens:
                    return TooManyTokens(len(ids), exact=False)
        except ValueError as error:
            return error
        return ids


@dataclass(frozen=True)
class _Checked:
    """A checked conversation, ready for the template."""

    conversation: Conversation | MessagesInvalid
    mark: str | None  # character that breaks up control tokens in the conversation; None if it contains none
    continues: bool = False  # True: the model goes on from the last message


def _cut(text: str) -> str | MessagesInvalid:
    """Return a prompt up to the end of the last message's text. Source: `render_jinja_template` of transformers."""
    place = text.rfind(_CUT.strip())
    if place < 0:
        return MessagesInvalid("the model's chat template leaves out the last message, so it cannot be continued")
    keeps_spaces = text.startswith(_CUT, place)
    return text[:place] if keeps_spaces else text[:place].rstrip()


def _without_added_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a tokenizer that treats a control token's text as ordinary text. It shares the parts of `backend`."""
    ordinary = tokenizers.Tokenizer(backend.model)
    if backend.normalizer is not None:
        ordinary.normalizer = backend.normalizer
    if backend.pre_tokenizer is not None:
        ordinary.pre_tokenizer = backend.pre_tokenizer
    return ordinary


def _checked_arguments(kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Check `chat_template_kwargs` and split them into the tools and the template's other variables."""
    check_json(kwargs, "chat_template_kwargs")
    for name in _RESERVED_NAMES:
        if name in kwargs:
            raise MessagesInvalid(f"`chat_template_kwargs` may not set `{name}`")
    continues = kwargs.get("continue_final_message", False)
    if not isinstance(continues, bool):
        raise MessagesInvalid(f"`continue_final_message` is {kind_of(continues)}; it must be true or false")
    variables = {"add_generation_prompt": not continues, **kwargs}
    variables.pop("continue_final_message", None)
    tools = variables.pop("tools", None)
    if tools is None:
        return None, variables
    if not isinstance(tools, list | tuple):
        raise MessagesInvalid(f"`tools` is {kind_of(tools)}; it must be a list of objects")
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise MessagesInvalid(f"`tools[{index}]` is {kind_of(tool)}; it must be an object")
    return tools, variables
