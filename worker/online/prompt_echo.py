"""The prompt with which a streamed completion begins, if the client wants it repeated."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import structs

from jobs.online.messages import PieceTokens
from worker.online.text_pieces import Text
from worker.shards.likelihoods.echo import EchoedPrompt


class PromptEcho:
    """Puts a prompt before the text of one completion. The text waits until the prompt's log-probabilities are known.

    Args:
        has_completion: False if the client wants the prompt alone.
    """

    def __init__(self, has_completion: bool) -> None:
        self._has_completion = has_completion
        self._prompt: EchoedPrompt | None = None  # None until it is known
        self._waiting: list[Text] = []

    def begin(self, prompt: EchoedPrompt) -> list[Text]:
        """Return the prompt as a part of the text, and everything that has waited for it."""
        self._prompt = prompt
        tokens = None
        if prompt.logprobs is not None:
            tokens = PieceTokens(0, (0,) * prompt.logprobs.num_tokens, prompt.logprobs)
        waiting, self._waiting = self._waiting, []
        return [Text("content", prompt.text, tokens), *self.behind(waiting)]

    def behind(self, texts: Iterable[Text]) -> list[Text]:
        """Return parts of the completion's text with their places behind the prompt. Empty if they must wait."""
        if not self._has_completion:
            return []
        if self._prompt is None:
            self._waiting += texts
            return []
        return [text._replace(tokens=_moved(text.tokens, self._prompt)) for text in texts]


def _moved(tokens: PieceTokens | None, prompt: EchoedPrompt) -> PieceTokens | None:
    """Return tokens of a completion with their places behind the prompt."""
    if tokens is None or prompt.logprobs is None:
        return tokens
    starts = tuple(start + len(prompt.text) for start in tokens.starts)
    return structs.replace(tokens, first=tokens.first + prompt.logprobs.num_tokens, starts=starts)
