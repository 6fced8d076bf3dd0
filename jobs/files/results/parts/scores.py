"""Format the scores of a line's choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobs.files.results.origin import Origin
from jobs.files.results.parts.logprobs import short_number
from jobs.records.completion import Completion, Score


def score_objects(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return the scores in the order of the line's choices. Numbers have the precision of float32."""
    return [
        {
            "choice": score.choice,
            "logprob": short_number(score.logprob),
            "num_tokens": score.num_tokens,
            "is_greedy": score.is_greedy,
            "prob": short_number(score.prob),
        }
        for score in scores
    ]


def score_body(completion: Completion, origin: Origin) -> dict[str, Any]:
    """Return a `scoring` object, as SGLang's `/v1/score` returns it.

    Args:
        completion: The result of a line that asks for probabilities of single tokens.
        origin: Where the result comes from.
    """
    tokens = completion.usage.prompt_tokens if completion.usage is not None else 0
    return {
        "object": "scoring",
        "model": origin.model,
        "scores": label_scores(completion),
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens},
    }


def label_scores(completion: Completion) -> list[list[float]]:
    """Return for each prompt the probability of each label."""
    return [[short_number(prob) for prob in probs] for probs in completion.label_probs]


def best_prob(scores: Sequence[Score]) -> float:
    """Return the probability of the likeliest choice."""
    return short_number(max(score.prob for score in scores))
