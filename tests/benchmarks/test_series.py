"""More can be measured of a series, in the same setting only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from benchmarks.peers.series import series
from benchmarks.peers.series.results import MachineFacts, ModelFacts
from benchmarks.peers.series.series import Setting
from cli.offline.roofline import MachineSpeed
from tests.benchmarks.measurements import COST, measurement, session

SAVED = session(measurement("run", 1), msgspec.structs.replace(measurement("run", 2), round=1), measurement("vllm", 3))
SETTING = Setting(SAVED.model, SAVED.threads, SAVED.batch_requests)
FASTER = MachineSpeed(read_bytes_per_second=20_000.0, flop_per_second=90_000.0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a saved series; the machine is the same, and reads faster today."""
    on_machine(monkeypatch, msgspec.structs.replace(SAVED.machine, speed=FASTER))
    path = tmp_path / "results.json"
    SAVED.save(path)
    return path


def on_machine(monkeypatch: pytest.MonkeyPatch, machine: MachineFacts) -> None:
    monkeypatch.setattr(series, "describe_machine", lambda _threads: machine)


def test_a_series_that_goes_on_keeps_its_measurements_and_the_best_speeds(path: Path) -> None:
    results = SETTING.series_to_go_on(path)
    assert results.measurements == SAVED.measurements
    assert results.rounds_done() == {"run": 2, "vllm": 1}
    assert results.machine.speed == MachineSpeed(read_bytes_per_second=20_000.0, flop_per_second=100_000.0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(SETTING, model=ModelFacts(name="other", cost=COST)), "model then: .*toy.*; now: .*other"),
        (replace(SETTING, threads=4), "threads then: 2; now: 4"),
        (replace(SETTING, batch_requests=8), "requests of the batch then: 64; now: 8"),
        (replace(SETTING, held_to="avx2"), "machine then: .*held_to=None.*; now: .*held_to='avx2'"),
    ],
)
def test_another_setting_is_refused(path: Path, other: Setting, words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        other.series_to_go_on(path)


def test_another_machine_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, msgspec.structs.replace(SAVED.machine, processor="Slide rule"))
    with pytest.raises(SystemExit, match=r"machine then: .*Abacus.*; now: .*Slide rule"):
        SETTING.series_to_go_on(path)


def test_where_there_is_no_series_the_next_step_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no series to add to"):
        SETTING.series_to_go_on(tmp_path / "results.json")
