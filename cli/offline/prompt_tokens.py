"""Count the tokens of a file's prompts with the model's tokenizer, without the model's weights."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median_low

from cli.offline.shared_tokens import SharedTokens
from jobs.records.model_card import card_of_folder
from jobs.records.prompt import Prompt
from model.checkpoint.hub import resolve_model
from model.text.tokenizer import Tokenizer
from worker.shards.pooled_prompts import PooledPrompts

_PROMPTS_AT_A_TIME = 512


@dataclass(frozen=True)
class TokenCounts:
    """Lengths of prompts, in tokens."""

    total: int
    median: int
    longest: int
    shared: int  # tokens that prefix caching computes once, because an earlier prompt begins with them as well
    too_long: int  # number of prompts that leave no token of the context for a completion
    failed: int  # number of prompts that cannot be encoded


def folder_of_gguf(model: str) -> Path:
    """Return the folder that stands for a GGUF file. Raises `ModelUnusable` if the file cannot be used."""
    return resolve_model(model).path


class PromptTokens:
    """Encodes prompts exactly as a worker does.

    Args:
        folder: The model's folder. Its weights are not read.

    Raises:
        ModelUnusable: The tokenizer, the chat template or another file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_folder(folder)
        self._pooled = PooledPrompts(self._tokenizer, card_of_folder(folder, folder.name).prompts)

    def count(self, prompts: Iterable[Prompt], max_model_len: int) -> TokenCounts:
        """Return the lengths of all prompts. Invalid lines do not count."""
        lengths = array("L")
        failed, shared = 0, SharedTokens()
        rest = (part for prompt in prompts if prompt.invalid is None for part in prompt.parts())
        while some := list(islice(rest, _PROMPTS_AT_A_TIME)):
            for encoded in self._encoded(some):
                if isinstance(encoded, ValueError):
                    failed += 1
                else:
                    lengths.append(len(encoded))
                    shared.add(encoded)
        longest = max(lengths, default=0)
        middle = median_low(lengths) if lengths else 0
        too_long = sum(each >= max_model_len for each in lengths)
        return TokenCounts(sum(lengths), middle, longest, shared.count, too_long, failed)

    def shown(self, prompt: Prompt, exact: bool) -> str:
        """Return the text that the model sees, with special tokens, or why the prompt cannot be encoded.

        The text of a line with several prompts is that of the first one.

        Args:
            prompt: The prompt.
            exact: False to break up text that only looks like a special token (`Tokenizer.decode_for_people`).
        """
        encoded = next(self._encoded(prompt.parts()[:1]))
        if isinstance(encoded, ValueError):
            return str(encoded)
        return self._tokenizer.decode(encoded, False) if exact else self._tokenizer.decode_for_people(encoded)

    def _encoded(self, prompts: Sequence[Prompt]) -> Iterator[Sequence[int] | ValueError]:
        texts = [
            self._pooled.text(prompt) if prompt.pools else prompt.text for prompt in prompts if prompt.text is not None
        ]
        conversations = [
            (prompt.messages, prompt.template_arguments) for prompt in prompts if prompt.messages is not None
        ]
        of_texts = iter(self._tokenizer.encode_batch(texts))
        of_conversations = iter(self._tokenizer.encode_conversations(conversations))
        for prompt in prompts:
            if prompt.token_ids is not None:
                yield prompt.token_ids
                continue
            encoded = next(of_texts if prompt.text is not None else of_conversations)
            assert isinstance(encoded, list | ValueError)  # no limit was given
            if prompt.pools and isinstance(encoded, list):
                yield self._pooled.frame(prompt).around(tuple(encoded), None)
            else:
                yield encoded
