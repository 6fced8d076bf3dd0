from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engine.machine.cgroup import Cgroups
from engine.machine.machine import Machine, usable_cores

V2 = "sys/fs/cgroup/"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_tightest_of_a_group_and_its_parents_counts(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/system/worker\n",
            V2 + "system/worker/cpu.max": "max 100000\n",
            V2 + "system/cpu.max": "150000 100000\n",
            V2 + "system/worker/memory.max": "5000\n",
            V2 + "system/worker/memory.current": "2000\n",
            V2 + "system/worker/memory.stat": "anon 1500\ninactive_file 400\n",
            V2 + "system/memory.max": "max\n",
            V2 + "system/memory.current": "9000\n",
        },
    )
    assert Cgroups(root).cpus() == 1.5
    assert Cgroups(root).memory_left() == 5000 - 2000 + 400


def test_of_two_limits_the_tighter_one_counts_whichever_group_has_it(tmp_path: Path) -> None:
    for own, parent in (("150000", "400000"), ("400000", "150000")):
        root = write(
            tmp_path / own,
            {
                "proc/self/cgroup": "0::/system/worker\n",
                V2 + "system/worker/cpu.max": f"{own} 100000\n",
                V2 + "system/cpu.max": f"{parent} 100000\n",
            },
        )
        assert Cgroups(root).cpus() == 1.5


def test_a_container_sees_its_limits_at_the_mount(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/\n", V2 + "cpu.max": "300000 100000\n"})
    assert Cgroups(root).cpus() == 3
    assert Cgroups(root).memory_left() is None


def test_version_one_is_read_too(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/\n1:name=systemd:/box\n",
            V2 + "cpu/cpu.cfs_quota_us": "250000\n",
            V2 + "cpu/cpu.cfs_period_us": "100000\n",
            V2 + "memory/box/memory.limit_in_bytes": "7000\n",
            V2 + "memory/box/memory.usage_in_bytes": "3000\n",
            V2 + "memory/box/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
        },
    )
    assert Cgroups(root).cpus() == 2.5
    assert Cgroups(root).memory_left() == 4500


def test_version_one_without_a_quota_is_no_limit(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpu:/\n",
            V2 + "cpu/cpu.cfs_quota_us": "-1\n",
            V2 + "cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert Cgroups(root).cpus() is None


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert Cgroups(tmp_path).cpus() is None
    assert Cgroups(tmp_path).memory_left() is None


def test_two_threads_of_a_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "sys/devices/system/cpu/cpu{}/topology/"
    files = {}
    for number in range(4):
        files[cpu.format(number) + "physical_package_id"] = "0"
        files[cpu.format(number) + "core_id"] = str(number // 2)
    root = write(tmp_path, files)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usable_cores(Cgroups(root), root) == 2
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {2, 3}, raising=False)
    assert usable_cores(Cgroups(root), root) == 1


def test_efficiency_cores_of_an_apple_processor_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # macOS does not have it
    program = tmp_path / "sysctl"
    program.write_text('#!/bin/sh\n[ "$*" = hw.perflevel0.physicalcpu ] && echo "$*: 6"\n')  # of 8 cores of an M1 Pro
    program.chmod(0o755)
    assert usable_cores(Cgroups(tmp_path), tmp_path, program) == 6
    assert usable_cores(Cgroups(tmp_path), tmp_path, tmp_path / "no_sysctl") == psutil.cpu_count(logical=False)


def test_a_share_of_a_processor_is_still_one_thread(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/\n", V2 + "cpu.max": "50000 100000\n"})
    assert usable_cores(Cgroups(root), root) == 1


def test_this_machine_has_cores_and_memory() -> None:
    machine = Machine.inspect()
    assert machine.cores >= 1
    assert machine.memory_left_bytes > 0
