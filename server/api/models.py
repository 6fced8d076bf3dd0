"""The endpoints of models."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.files.formats.model_checks import same_model
from jobs.records.model_card import ModelCard
from server.api.listing import json_reply
from server.middleware.api_error import ApiError, retry_later
from server.online.line_errors import no_worker
from server.state import Services

_NAMED_MODELS = 10  # in an error's text


class ModelObject(msgspec.Struct, frozen=True):
    """A served model. `max_model_len` is vLLM's name for the tokens of prompt and completion together."""

    id: str
    max_model_len: int
    created: int = 0  # not known: a model has no date of its own
    object: str = "model"
    owned_by: str = "qwen-batch"


class ModelsApi:
    """Handles the requests under /v1/models."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def listing(self, _request: Request) -> Response:
        """GET /v1/models: list every model that some worker has served."""
        cards = await self._cards()
        return json_reply({"object": "list", "data": [_object_of(card) for card in cards]})

    async def show(self, request: Request) -> Response:
        """GET /v1/models/ID: return one model. Its id may have slashes."""
        wanted = str(request.path_params["id"])
        for card in await self._cards():
            if card.name == wanted:
                return json_reply(_object_of(card))
        raise await _unknown_model(self._services, wanted)

    async def _cards(self) -> list[ModelCard]:
        return await self._services.store_threads.shared("models", self._services.stores.jobs.fleet.models)


async def served_model(services: Services, wanted: str) -> ModelCard:
    """Return the model that a request names. Its name may lack the owner.

    Raises:
        ApiError: No worker has served the model, or its first worker is not ready yet.
    """
    fleet = services.stores.jobs.fleet
    cards = await services.store_threads.shared("models", fleet.models)
    found = next((card for card in cards if card.name == wanted), None)
    found = found or next((card for card in cards if same_model(wanted, card.name)), None)
    if found is not None:
        return found
    raise await _unknown_model(services, wanted)


async def _unknown_model(services: Services, wanted: str) -> ApiError:
    """Return the error for a model without a card: it will be there soon, or it does not exist."""
    fleet, own = services.stores.jobs.fleet, services.options.own_model
    live, lost, cards = await services.store_threads.shared(
        "unknown model", lambda: (fleet.workers(), fleet.lost_workers(), fleet.models())
    )
    served = {card.name for card in cards}
    if any(same_model(wanted, worker.model) and worker.model not in served for worker in live):
        return no_worker(wanted, is_loading=True)
    if own is not None and same_model(wanted, own) and own not in served:
        return retry_later(503, f"The worker of the model '{wanted[:100]}' is still starting.", "no_worker", 5)
    if any(same_model(wanted, worker.model) and worker.model not in served for worker in lost):
        message = f"The worker that was loading the model '{wanted[:100]}' does not report any more."
        return retry_later(503, message, "no_worker", 5)
    message = f"The model '{wanted[:100]}' does not exist: no worker has served it. {_served(cards)}"
    return ApiError(404, message, param="model", code="model_not_found")


def _served(cards: Sequence[ModelCard]) -> str:
    """Return a sentence that names the served models."""
    if not cards:
        return "No worker has served any model yet."
    names = [f"'{card.name}'" for card in cards[:_NAMED_MODELS]]
    more = len(cards) - len(names)
    return f"Served models: {', '.join(names)}{f' and {more} more' if more else ''}."


def _object_of(card: ModelCard) -> ModelObject:
    return ModelObject(card.name, card.max_model_len)
