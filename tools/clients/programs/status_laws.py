"""What many clients may see of one batch: its status never goes back, and its counts never fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A batch whose job has ended can still be cancelled. A batch that is cancelling shows no `finalizing` any more.
ORDER = ("validating", "in_progress", "finalizing", "cancelling")
ENDS = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Sight:
    """One answer to one client. The times are those of the request and of the answer, in seconds of one clock."""

    began: float
    ended: float
    status: str
    total: int  # lines
    completed: int
    failed: int

    @property
    def rank(self) -> int:
        """Return the place of the status in a batch's life. All ends have the last one."""
        return len(ORDER) if self.status in ENDS else ORDER.index(self.status)

    @property
    def heights(self) -> tuple[int, int, int, int]:
        """Return the four numbers that never fall."""
        return self.rank, self.total, self.completed, self.failed


def faults_in(sights: Sequence[Sight]) -> list[str]:
    """Return what breaks the laws. An answer must not be older than one that ended before its request began."""
    faults, by_end, place = [], sorted(sights, key=lambda sight: sight.ended), 0
    heights = (0, 0, 0, 0)
    for sight in sorted(sights, key=lambda sight: sight.began):
        while by_end[place].ended < sight.began:
            heights = tuple(map(max, heights, by_end[place].heights))  # type: ignore[assignment]
            place += 1
        if any(now < before for now, before in zip(sight.heights, heights, strict=True)):
            faults.append(f"{sight} after (rank, total, completed, failed) = {heights}")
        if sight.completed + sight.failed > sight.total:
            faults.append(f"{sight} counts more lines than there are")
    ends = {sight.status for sight in sights if sight.status in ENDS}
    if len(ends) > 1:
        faults.append(f"several ends: {sorted(ends)}")
    return faults


def statuses_in(sights: Sequence[Sight]) -> list[str]:
    """Return the statuses that were seen, in the order of their first answers."""
    return list(dict.fromkeys(sight.status for sight in sorted(sights, key=lambda sight: sight.ended)))
