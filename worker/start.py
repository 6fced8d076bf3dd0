"""Start a worker from its settings."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from engine.config import EngineConfig
from jobs.errors import InvalidInput, StoreFull
from jobs.online.online_store import OnlineStore
from jobs.online.redis_online import RedisOnline
from jobs.queue.celery_hints import CeleryHints
from jobs.records.model_card import ModelCard, card_of_folder
from jobs.settings import Settings
from jobs.stores.connect import connect_server
from jobs.stores.protocol import JobStore
from jobs.stores.redis.store import RedisJobStore
from jobs.stores.worker_facets import Fleet
from model.checkpoint.hub import resolve_model
from model.grammar import Grammars
from model.text.tool_calls import ToolCallParser
from model.thinking import ThinkingTokens
from worker.engine_options import engine_config
from worker.facts import WorkerFacts
from worker.online.assembly import ServedModel, online_part
from worker.online.online_intake import TextSource
from worker.queue.refusals import Refusals
from worker.running_worker import RunningWorker
from worker.shards.active_shards import ActiveShards
from worker.shards.preparation import Preparation
from worker.shards.shard_dispatcher import ShardDispatcher
from worker.shards.shard_runner import ShardRunner
from worker.telemetry.metrics import WorkerMetrics, serve_metrics
from worker.telemetry.request_meter import MeteredEngine, RequestMeter
from worker.upkeep.backup_runner import BackupRunner
from worker.upkeep.lease_keeper import LeaseKeeper
from worker.upkeep.notification_listener import NotificationListener
from worker.upkeep.recovery import Recovery
from worker.upkeep.reporter import Reporter
from worker.upkeep.store_link import Backoff, StoreLink

if TYPE_CHECKING:
    from engine.load import LoadedEngine

log = logging.getLogger(__name__)


def start_worker(
    settings: Settings,
    model: str,
    worker_id: str,
    active: ActiveShards,
    refusals: Refusals,
    *,
    on_death: Callable[[BaseException], None],
) -> RunningWorker:
    """Connect to the store, announce the worker as loading, load the model, and start the worker's threads.

    Args:
        settings: The user's settings.
        model: The served model's name.
        worker_id: The worker's id, which is never used again.
        active: The worker's active shards.
        refusals: Counter of refused messages.
        on_death: Called on the engine's thread when the engine has failed.

    Raises:
        StoreUnavailable: The server of the settings cannot be used.
        InvalidInput: A setting cannot be used.
        ModelUnusable: The model cannot be loaded.
    """
    config = engine_config(settings)
    early = _connect(settings, model, worker_id, active, refusals)
    early.reporter.start()
    notices: list[str] = []
    try:
        loaded, card = _load(settings, config, model, on_death, early.reporter.loading, notices)
        _publish(early.store.fleet, card, early.link)
        _say_ready(settings.ready_fd, notices)
    except BaseException:
        early.reporter.stop()
        raise
    facts = _facts(early.facts, loaded)
    worker = _assemble(early, loaded, card, facts, on_death)
    worker.start()
    early.reporter.loaded(facts, loaded.engine)
    return worker


@dataclass(frozen=True)
class _EarlyParts:
    """The parts of a worker that exist before its model is loaded."""

    settings: Settings
    facts: WorkerFacts
    active: ActiveShards
    store: JobStore
    online: OnlineStore
    link: StoreLink
    metrics: WorkerMetrics
    reporter: Reporter


def _connect(settings: Settings, model: str, worker_id: str, active: ActiveShards, refusals: Refusals) -> _EarlyParts:
    """Connect to the store and serve the metrics. Nothing is reported yet."""
    server = connect_server(settings.redis_url)
    store = RedisJobStore(server)
    link = StoreLink(active.stopping)
    metrics = WorkerMetrics(model=model, meter=RequestMeter(), refusals=refusals, link=link)
    if settings.metrics_port is not None:
        serve_metrics(settings.metrics_port, metrics.text)
    facts = WorkerFacts(worker_id, model, settings.device, settings.dtype, settings.quantize)
    reporter = Reporter(
        store=store, link=link, active=active, refusals=refusals, facts=facts, figures=metrics.meter.figures
    )
    return _EarlyParts(settings, facts, active, store, RedisOnline(server), link, metrics, reporter)


def _assemble(
    early: _EarlyParts,
    loaded: LoadedEngine,
    card: ModelCard,
    facts: WorkerFacts,
    on_death: Callable[[BaseException], None],
) -> RunningWorker:
    """Make the parts that need the loaded model. None of their threads runs yet."""
    settings, store, link, active = early.settings, early.store, early.link, early.active
    engine = early.metrics.engine = MeteredEngine(loaded.engine, early.metrics.meter)
    early.metrics.device = loaded.device
    hints = CeleryHints(settings.redis_url)
    keeper = LeaseKeeper(work=store.work, worker_id=facts.worker_id, ttl_seconds=settings.lease_ttl_seconds, link=link)
    preparation = Preparation(
        loaded.tokenizer, card, Grammars(loaded.tokenizer, loaded.eos_token_ids), ThinkingTokens.of(loaded.tokenizer)
    )
    tool_parser = ToolCallParser.of(loaded.tokenizer, card.tools)
    runner = ShardRunner(
        store=store,
        hints=hints,
        engine=engine,
        preparation=preparation,
        lease_keeper=keeper,
        dispatcher=ShardDispatcher(keeper, engine, active, facts.model, loaded.resolved.policy.max_num_seqs),
        link=link,
        active=active,
        facts=facts,
        flush_seconds=settings.flush_seconds,
        tool_parser=tool_parser,
    )
    text = TextSource(loaded.tokenizer, loaded.eos_token_ids, None if tool_parser is None else tool_parser.start_id)
    served = ServedModel(engine, preparation, text, tool_parser, loaded.resolved.policy.max_num_seqs)
    online = early.metrics.online = online_part(settings, early.online, link, active, facts, served)
    return RunningWorker(
        loaded=loaded,
        shard_runner=runner,
        lease_keeper=keeper,
        recovery=Recovery(
            store=store, hints=hints, model=facts.model, interval_seconds=settings.sweep_seconds, link=link
        ),
        backup_runner=BackupRunner(runner, active, on_death),
        listener=NotificationListener(store, facts.model, active),
        reporter=early.reporter,
        active=active,
        online=online,
    )


def _load(
    settings: Settings,
    config: EngineConfig,
    model: str,
    on_death: Callable[[BaseException], None],
    progress: Callable[[str], None],
    notices: list[str],
) -> tuple[LoadedEngine, ModelCard]:
    """Load the engine, and return it with the card of the model as it is served.

    `load_seconds` of the engine includes reading the card and importing torch, but not a download or compilation.
    `progress` is called with what happens next. The engine's messages for the user are logged and added to `notices`.
    """

    def note(message: str) -> None:
        log.info(message)
        notices.append(message)

    progress("looking for the model's files")
    folder = resolve_model(settings.model, show_progress=True).path
    started_at = time.monotonic()
    card = card_of_folder(folder, model)  # checks the small files before weights load
    progress("starting PyTorch")
    from engine.load import load_engine  # imports torch, which takes seconds; the worker already reports `loading`

    loaded = load_engine(folder, config, log=note, on_death=on_death, progress=progress)
    load_seconds = time.monotonic() - started_at - loaded.compile_seconds
    max_model_len = min(card.max_model_len, loaded.resolved.max_model_len)
    return replace(loaded, load_seconds=load_seconds), msgspec.structs.replace(card, max_model_len=max_model_len)


def _publish(fleet: Fleet, card: ModelCard, link: StoreLink) -> None:
    """Store the model's card. Waits while the server is full, because a restart would load the model again."""
    backoff = Backoff()
    while True:
        try:
            fleet.publish_model(card)
        except StoreFull as error:
            link.failed(error)
            time.sleep(backoff.next_delay())
        else:
            link.worked()
            return


def _say_ready(descriptor: int | None, notices: Sequence[str]) -> None:
    """Tell the parent process that the model is loaded, and its notices for the user. Raises `InvalidInput`.

    The parent can then tell a later crash from an error while loading.
    """
    if descriptor is None:
        return
    said = "\n" + "".join(f"{' '.join(notice.split())}\n" for notice in notices)
    try:
        os.write(descriptor, said.encode())
        os.close(descriptor)
    except (OSError, OverflowError) as error:
        raise InvalidInput(
            f"`ready_fd` is {descriptor}; it must be the number of a file descriptor that is open for writing."
        ) from error


def _facts(early: WorkerFacts, loaded: LoadedEngine) -> WorkerFacts:
    return replace(
        early,
        device=loaded.device,
        dtype=loaded.resolved.dtype,
        quantize=loaded.resolved.quantize,
        compiled=loaded.compiled,
        load_seconds=loaded.load_seconds,
        compile_seconds=loaded.compile_seconds,
        peak_memory_bytes=loaded.peak_memory_bytes,
        kv_cache_bytes=loaded.kv_cache_bytes,
    )
