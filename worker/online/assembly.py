"""Put together the part of a worker that serves interactive requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from jobs.online.online_store import OnlineStore
from jobs.settings import Settings
from model.text.tool_calls import ToolCallParser
from worker.facts import WorkerFacts
from worker.online.online_intake import OnlineIntake, TextSource
from worker.online.online_part import OnlinePart, StoreClock, max_sequences
from worker.online.online_run import OnlineRuns
from worker.online.reply_sender import ReplySender
from worker.shards.active_shards import ActiveShards
from worker.shards.inference_engine import InferenceEngine
from worker.shards.preparation import Preparation
from worker.upkeep.store_link import StoreLink


@dataclass(frozen=True)
class ServedModel:
    """Parts that lines of batches and interactive requests share."""

    engine: InferenceEngine
    preparation: Preparation
    text: TextSource
    tool_parser: ToolCallParser | None  # None if the model cannot call tools
    max_num_seqs: int


def online_part(
    settings: Settings,
    store: OnlineStore,
    link: StoreLink,
    active: ActiveShards,
    facts: WorkerFacts,
    served: ServedModel,
) -> OnlinePart | None:
    """Return the part, whose threads do not run yet, or None if the worker serves batches only.

    Args:
        settings: The user's settings.
        store: Has the requests.
        link: Gets the outcome of each call to the store.
        active: The worker's active shards.
        facts: The worker's id and model.
        served: The loaded model.

    Raises:
        InvalidInput: A setting is not valid.
    """
    if not settings.online:
        return None
    runs, clock, stopping = OnlineRuns(), StoreClock(store), threading.Event()
    sender = ReplySender(
        store=store,
        engine=served.engine,
        runs=runs,
        link=link,
        worker_id=facts.worker_id,
        tool_parser=served.tool_parser,
        interval_seconds=settings.stream_interval,
    )
    intake = OnlineIntake(
        store=store,
        model=facts.model,
        worker_id=facts.worker_id,
        engine=served.engine,
        preparation=served.preparation,
        text=served.text,
        sender=sender,
        runs=runs,
        active=active,
        link=link,
        max_sequences=max_sequences(settings.online_share, served.max_num_seqs),
        stopped=stopping.is_set,
        now=clock,
    )
    return OnlinePart(store, facts.model, facts.worker_id, runs, sender, intake, clock, link, stopping)
