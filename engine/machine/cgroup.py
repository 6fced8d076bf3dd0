"""CPU and memory limits of a container: Linux control groups, version 2 and version 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class Cgroups:
    """CPU and memory limits of this process and of its parent groups. Without control groups there are no limits.

    Args:
        root: Folder in which `proc` and `sys` are mounted.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._mount = root / "sys" / "fs" / "cgroup"
        self._own = root / "proc" / "self" / "cgroup"

    def cpus(self) -> float | None:
        """Return the limit of CPU time in processors (CPU seconds per second), or None if there is no limit."""
        limits = []
        for folder in self._groups("cpu"):
            words = _words(folder / "cpu.max", 2) or (
                _words(folder / "cpu.cfs_quota_us", 1) + _words(folder / "cpu.cfs_period_us", 1)
            )
            # "max" and -1 mean that there is no limit.
            if len(words) == 2 and all(word.isdigit() for word in words):
                limits.append(int(words[0]) / int(words[1]))
        return min(limits, default=None)

    def memory_left(self) -> int | None:
        """Return the bytes of memory still available, or None if there is no limit. File cache counts as free."""
        left = []
        for folder in self._groups("memory"):
            limit = _words(folder / "memory.max", 1) or _words(folder / "memory.limit_in_bytes", 1)
            used = _words(folder / "memory.current", 1) or _words(folder / "memory.usage_in_bytes", 1)
            if limit and used and limit[0].isdigit():
                left.append(max(0, int(limit[0]) - int(used[0]) + _file_cache(folder / "memory.stat")))
        return min(left, default=None)

    def _groups(self, controller: str) -> Iterator[Path]:
        """Yield the folders of this process's group, of its parents, and of the mount itself.

        Inside a container only the mount is visible.
        """
        for line in _text(self._own).splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            mount = self._mount / controller if controllers else self._mount
            folder = mount / name.lstrip("/")
            yield folder
            while folder != mount:
                folder = folder.parent
                yield folder


def _file_cache(stat: Path) -> int:
    values = dict(line.split(" ", 1) for line in _text(stat).splitlines())
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _words(path: Path, count: int) -> tuple[str, ...]:
    """Return the first `count` words of a file, or an empty tuple if it has fewer."""
    words = _text(path).split()
    return tuple(words[:count]) if len(words) >= count else ()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
