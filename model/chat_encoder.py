"""A conversation to token ids: check, render, encode, with control tokens only where the template wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers

from model.chat_template import ChatTemplate
from model.control_tokens import ControlTokens
from model.messages import MessagesInvalid, check_json, checked_messages, kind_of

# Names that transformers gives a meaning of its own, or that would shadow the conversation.
_RESERVED_NAMES = ("messages", "chat_template", "continue_final_message", "tokenize")


class ChatEncoder:
    """Encodes conversations with one model's template and tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer, template: ChatTemplate) -> None:
        added = backend.get_added_tokens_decoder()
        self._backend = backend
        self._template = template
        self._added_ids = {token.content: token_id for token_id, token in added.items()}
        self._added_tokens = ControlTokens(list(self._added_ids))
        self._special_tokens = ControlTokens([token.content for token in added.values() if token.special])

    def encode(self, messages: object, kwargs: Mapping[str, Any]) -> list[int]:
        """`Tokenizer.encode_messages`, where the contract stands."""
        conversation: Any = checked_messages(messages)
        tools, variables = _checked_arguments(kwargs)
        mark = self._special_tokens.mark_for(conversation, tools, variables)
        if mark is None:
            text = self._template.render(conversation, tools, variables)
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        broken: Any = [self._special_tokens.break_up(each, mark) for each in (conversation, tools, variables)]
        return self._encode_marked(self._template.render(*broken), mark)

    def _encode_marked(self, text: str, mark: str) -> list[int]:
        """Encode a prompt in which control tokens that are not meant have a mark inside."""
        ids: list[int] = []
        for is_added, piece in self._added_tokens.split(text):
            if is_added:
                ids.append(self._added_ids[piece])
            else:
                ids += self._encode_ordinary(piece.replace(mark, ""))
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        """The backend's own steps without the one that looks for added tokens."""
        normalizer, pre_tokenizer = self._backend.normalizer, self._backend.pre_tokenizer
        normalised = text if normalizer is None else normalizer.normalize_str(text)
        words = [normalised] if pre_tokenizer is None else [w for w, _ in pre_tokenizer.pre_tokenize_str(normalised)]
        return [token.id for word in words for token in self._backend.model.tokenize(word)]


def _checked_arguments(kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The tools, and the template's other variables."""
    check_json(kwargs, "chat_template_kwargs")
    for name in _RESERVED_NAMES:
        if name in kwargs:
            raise MessagesInvalid(f"`chat_template_kwargs` may not set `{name}`")
    variables = {"add_generation_prompt": True, **kwargs}
    tools = variables.pop("tools", None)
    if tools is None:
        return None, variables
    if not isinstance(tools, list | tuple):
        raise MessagesInvalid(f"`tools` is {kind_of(tools)}; it must be a list of objects")
    for index, tool in enumerate(tools):
        if not isinstance(tool, Mapping):
            raise MessagesInvalid(f"`tools[{index}]` is {kind_of(tool)}; it must be an object")
    return tools, variables
