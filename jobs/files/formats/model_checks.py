"""Check a line against one model: its name and its limits."""

from __future__ import annotations

from jobs.files.formats.features.thinking import check_switch
from jobs.files.formats.features.tools import check_tools
from jobs.files.formats.json_line import LineInvalid
from jobs.records.model_card import ModelCard
from jobs.records.prompt import Prompt


def same_model(said: str, served: str) -> bool:
    """Return whether a line's `model` names the served model.

    The comparison ignores a revision (`…@main`) and the case of letters. It ignores the owner of a hub id if only one
    name has an owner. So `qwen3-0.6b` matches `Qwen/Qwen3-0.6B@main`, but `Other/Qwen3-0.6B` does not.
    """
    if said == served:
        return True
    said_owner, said_name = _parts(said)
    served_owner, served_name = _parts(served)
    return said_name == served_name and (not said_owner or not served_owner or said_owner == served_owner)


def _parts(name: str) -> tuple[str, str]:
    owner, _, rest = name.partition("@")[0].lower().rpartition("/")
    return owner, rest


def check_against_card(prompt: Prompt, card: ModelCard) -> None:
    """Refuse a line that this model can never run.

    A prompt that is too long is not refused here. The worker counts its tokens, and the line fails with
    `prompt_too_long`. A `max_tokens` that exceeds the rest of the context is no error either; the worker reduces it.

    Raises:
        LineInvalid: A token id outside the vocabulary, messages for a model without a chat template, a wish about
            thinking or tools that the model's chat template ignores, or a result that the model does not make.
    """
    check_kind(prompt, card)
    settings = prompt.settings
    if prompt.chat_template_kwargs or settings.thinking_token_budget is not None:
        check_switch(prompt, card)
    if prompt.tools is not None:
        check_tools(prompt, card)
    if prompt.labels is not None:
        _check_ids("label_token_ids", prompt.labels.token_ids, card)
    if prompt.score:
        check_answers_at_once(prompt, card)
    if prompt.messages is not None and not card.has_chat_template:
        raise LineInvalid(f"`messages` need a chat template, which {card.name} does not have; give a raw `prompt`")
    if prompt.text is None or prompt.more_prompts:
        for part in prompt.parts():
            _check_ids("prompt", part.token_ids, card)
    _check_ids("stop_token_ids", settings.stop_token_ids, card)
    _check_ids("allowed_token_ids", settings.allowed_token_ids, card)
    if settings.logit_bias:
        _check_ids("logit_bias", tuple(token_id for token_id, _ in settings.logit_bias), card)


def check_answers_at_once(prompt: Prompt, card: ModelCard) -> None:
    """Refuse scores of a conversation with a model that thinks before every answer. Raises `LineInvalid`."""
    if prompt.messages is not None and card.thinking == "always":
        raise LineInvalid(
            f"`score` needs an answer without a thought, but {card.name} always thinks; use a model that can answer "
            "at once, or a raw `prompt`"
        )


def check_kind(prompt: Prompt, card: ModelCard) -> None:
    """Refuse a line that wants a text of an embedding model, or an embedding of another model. Raises `LineInvalid`."""
    wish, embeds = prompt.embed, card.kind == "embedding"
    if wish is None:
        if embeds:
            wanted = "a ranking" if prompt.rerank is not None else "a text"
            other = "Qwen/Qwen3-Reranker-0.6B" if prompt.rerank is not None else "Qwen/Qwen3-0.6B"
            raise LineInvalid(
                f"this asks for {wanted}, but {card.name} makes only embeddings; name another model, such as {other}, "
                "or ask for embeddings with `embed` or /v1/embeddings"
            )
        return
    if not embeds:
        raise LineInvalid(
            f"this asks for embeddings, but {card.name} makes texts; name an embedding model, such as "
            "Qwen/Qwen3-Embedding-0.6B"
        )
    if wish.dimensions is not None and card.embedding_size is not None and wish.dimensions > card.embedding_size:
        raise LineInvalid(
            f"`dimensions` is {wish.dimensions:,}; embeddings of {card.name} have 1 to {card.embedding_size:,} values"
        )
    if wish.prompt_name is not None and wish.prompt_name not in card.prompts:
        known = ", ".join(f'"{name}"' for name in card.prompts) or "none"
        raise LineInvalid(f'`prompt_name` is "{wish.prompt_name:.60}"; the names of {card.name} are: {known}')


def _check_ids(key: str, ids: tuple[int, ...] | None, card: ModelCard) -> None:
    if ids and max(ids) >= card.vocab_size:
        raise LineInvalid(
            f"`{key}` holds the token id {max(ids):,}; the vocabulary of {card.name} is from 0 to "
            f"{card.vocab_size - 1:,}"
        )
