"""The split into trained and held-out instances. It is computed from their names, so no list is stored."""

from __future__ import annotations

import hashlib
from enum import Enum

from tools.demo_model.tasks.task import Instance, Task


class Split(Enum):
    """The use of a question: training or test."""

    TRAIN = "train"
    VALIDATION = "validation"  # watched during development
    TEST = "test"  # reported only; no choice depends on it


# Number of the 100 buckets. The salts differ, so the two sets are independent.
_HELD_OUT_BUCKETS = {Split.TEST: 10, Split.VALIDATION: 5}


def _bucket(split: Split, name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=split.value.encode()).digest()
    return int.from_bytes(digest, "big") % 100


def name_of(task: Task, instance: Instance, phrasing: int) -> str:
    """Return the name that decides the split. For facts, it names a pair of fact and phrasing.

    An instance with a plain question inside has the name of this question. So training sees no held-out answer as JSON.
    """
    if instance.inner_name is not None:
        return instance.inner_name
    return f"{task.name}:{instance.key}" + (f":{phrasing}" if task.is_fact else "")


def split_of(task: Task, instance: Instance, phrasing: int) -> Split:
    """Return the split of one instance."""
    name = name_of(task, instance, phrasing)
    for split, size in _HELD_OUT_BUCKETS.items():
        if _bucket(split, name) < size:
            return split
    return Split.TRAIN
