"""A worker from start to end: its connections, its engine and its threads."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence

import msgspec

from engine.load import LoadedEngine, load_engine
from jobs.celery_hints import CeleryHints
from jobs.errors import StoreFull, StoreUnavailable
from jobs.model_card import ModelCard, card_of_folder
from jobs.served_name import served_name
from jobs.settings import Settings
from jobs.stores.connect import connect
from model.hub import resolve_model
from worker.active_shards import ActiveShards
from worker.engine_options import engine_config
from worker.facts import WorkerFacts, new_worker_id
from worker.hint_message import MalformedHint, shard_of_hint
from worker.lease_keeper import LeaseKeeper
from worker.orderly_stop import OrderlyStop
from worker.preparation import Preparation
from worker.reaper import Reaper
from worker.reporter import Reporter
from worker.shard_runner import ShardRunner
from worker.store_link import StoreLink

log = logging.getLogger(__name__)
