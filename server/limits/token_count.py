"""The tokens of an interactive request, which its handler counts for `LimitMiddleware`."""

from __future__ import annotations

from starlette.types import Scope

_KEY = "qwen_batch.tokens"


def count_tokens(scope: Scope, tokens: int) -> None:
    """Note the tokens of prompt and completion. They count for `tokens_per_minute` of the request's API key."""
    scope[_KEY] = tokens


def counted_tokens(scope: Scope) -> int:
    """Return the tokens that were noted for a request."""
    return int(scope.get(_KEY, 0))
