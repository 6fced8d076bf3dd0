"""Which instances are held out of training: a fact of their names, so that no list of them is needed."""

from __future__ import annotations

import hashlib
from enum import Enum

from tools.demo_model.task import Instance, Task


class Split(Enum):
    """What a question may be used for."""

    TRAIN = "train"
    VALIDATION = "validation"  # watched while the recipe was made
    TEST = "test"  # reported; nothing was ever chosen by it


# Of 100 buckets. The salts differ, so that neither set says anything about the other.
_HELD_OUT_BUCKETS = {Split.TEST: 10, Split.VALIDATION: 5}


def _bucket(split: Split, name: str) -> int:
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=split.value.encode()).digest()
    return int.from_bytes(digest, "big") % 100


def split_of(task: Task, instance: Instance, phrasing: int) -> Split:
    """The split of one instance; of facts, one instance in one of its phrasings."""
    name = f"{task.name}:{instance.key}" + (f":{phrasing}" if task.is_fact else "")
    for split, size in _HELD_OUT_BUCKETS.items():
        if _bucket(split, name) < size:
            return split
    return Split.TRAIN
