"""The endpoints of models."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jobs.files.formats.model_checks import same_model
from jobs.records.model_card import ModelCard
from server.api.listing import json_reply
from server.borders.api_error import ApiError, retry_later
from server.state import Services


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
        raise _no_such_model(wanted)

    async def _cards(self) -> list[ModelCard]:
        return await self._services.store_threads.shared("models", self._services.stores.jobs.fleet.models)


async def served_model(services: Services, wanted: str) -> ModelCard:
    """Return the model that a request names. Its name may lack the owner.

    Raises:
        ApiError: No worker has served the model, or its first worker is still loading it.
    """
    fleet = services.stores.jobs.fleet
    cards = await services.store_threads.shared("models", fleet.models)
    found = next((card for card in cards if card.name == wanted), None)
    found = found or next((card for card in cards if same_model(wanted, card.name)), None)
    if found is not None:
        return found
    workers = await services.store_threads.shared("workers", fleet.workers)
    if any(worker.state == "loading" and same_model(wanted, worker.model) for worker in workers):
        raise retry_later(503, f"A worker is still loading the model '{wanted[:100]}'.", "no_worker", 5)
    raise _no_such_model(wanted)


def _no_such_model(wanted: str) -> ApiError:
    return ApiError(
        404,
        f"The model '{wanted[:100]}' does not exist: no worker has served it.",
        param="model",
        code="model_not_found",
    )


def _object_of(card: ModelCard) -> ModelObject:
    return ModelObject(card.name, card.max_model_len)
