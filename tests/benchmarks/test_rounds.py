"""Systems run in processes of their own; what fails is named and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.peers.environments import ENVIRONMENTS, environment_for
from benchmarks.peers.lesser_processors import LESSER_PROCESSORS
from benchmarks.peers.series import rounds
from benchmarks.peers.series.others import OthersWatch
from benchmarks.peers.series.rounds import Rounds
from benchmarks.peers.series.version import REPOSITORY
from benchmarks.peers.systems import System
from benchmarks.peers.tasks.plan import Plan
from model.kernels.tiers import TIERS

PLAN = Plan(
    measures=("one_stream",),
    repeat=2,
    requests=2,
    other_seeds=(),
    large_requests=4,
    lines=(),
    batch_sizes=(),
)


def rounds_of(folder: Path, module_text: str, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """With `peer_under_test`, a module of this text, to run."""
    (folder / "peer_under_test.py").write_text(module_text)
    (folder / "config.json").write_text('{"vocab_size": 100}')
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return Rounds(PLAN, folder, 100, 1, folder / "environments", folder)


PEER = """
from benchmarks.peers.programs.peer_run import PeerRun, peer_parser
run = PeerRun.of_options(peer_parser(None).parse_args())
run.measure(lambda task: [[7] * length for length in task.lengths], "peer 1.0")
"""


def system(key: str) -> System:
    return System(key, key, "peer_under_test", None, measures=("one_stream",))


def test_every_system_runs_once_a_round_and_every_second_round_goes_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: dict[str, str] = {}
    found = list(rounds_of(tmp_path, PEER, monkeypatch).run([system("a"), system("b")], failures, {}))
    assert [(each.round, each.system) for each in found] == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    assert {each.output_tokens for each in found} == {64}
    assert failures == {}


def test_prompts_that_begin_alike_run_in_a_process_with_a_prefix_cache_and_after_a_primer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = PEER.replace("lambda task:", "lambda task: print(run.shares, task.kind, len(task.prompts)) or")
    plan = replace(PLAN, measures=("one_stream", "shared"), repeat=1, shared_requests=2)
    both = replace(system("a"), measures=("one_stream", "shared"))
    found = list(replace(rounds_of(tmp_path, peer, monkeypatch), plan=plan).run([both], {}, {}))
    assert [each.kind for each in found] == ["one_stream", "shared", "shared_long"]
    log = (tmp_path / "a-shared.round-1.log").read_text().splitlines()
    assert [line for line in log if line.startswith("True shared ")] == [
        *("True shared 2", "True shared 1", "True shared 2"),  # warm-up, primer, and what is timed
    ]


def test_records_may_end_by_themselves_and_their_valid_lines_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = PEER.replace("[7] * length", "[7] * 9").replace('"peer 1.0"', '"peer 1.0", decode=lambda ids: "{}"')
    plan = replace(PLAN, measures=("records",), repeat=1)
    both = replace(system("a"), measures=("records",))
    (found,) = replace(rounds_of(tmp_path, peer, monkeypatch), plan=plan).run([both], {}, {})
    assert (found.kind, found.output_tokens, found.longest_output) == ("records", 18, 9)
    assert found.more == {"valid_lines": 0}


def test_rounds_that_are_added_go_on_from_those_that_a_system_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list(rounds_of(tmp_path, PEER, monkeypatch).run([system("a"), system("b")], {}, {"a": 3}))
    assert [(each.round, each.system) for each in found] == [(3, "a"), (0, "b"), (1, "b"), (4, "a")]


def test_a_system_that_fails_is_named_with_its_log_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failures: dict[str, str] = {}
    wrong = PEER.replace("[7] * length", "[7]")
    assert list(rounds_of(tmp_path, wrong, monkeypatch).run([system("a")], failures, {})) == []
    assert list(failures) == ["a"]
    assert "exit status 1, 0 of 1 tasks done" in failures["a"]
    assert "64] tokens were asked for" in (tmp_path / "a.round-1.log").read_text()
    assert capsys.readouterr().err.count(failures["a"]) == 1


def test_a_system_ends_with_a_series_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    peer = f"import signal\npipe = open({str(pipe)!r}, 'w', 1)\npipe.write('up\\n')\nsignal.pause()"
    rounds_of(tmp_path, peer, monkeypatch)
    script = (
        "from pathlib import Path\n"
        "from tests.benchmarks.test_rounds import PLAN, Rounds, system\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "list(Rounds(PLAN, folder, 100, 1, folder, folder).run([system('a')], {}, {}))"
    )
    series = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY)
    with pipe.open() as output:
        assert output.readline() == "up\n"
        series.kill()
        series.wait()
        assert output.read() == ""  # ends when nobody holds the pipe: the system is gone


def test_time_of_this_program_is_time_of_others_for_its_children() -> None:
    others = OthersWatch()
    while others.share() == 0.0:  # the clock of the processors ticks some times a second
        sum(range(100_000))
    assert 0 < others.share() <= 1


def test_what_sets_threads_behind_a_systems_back_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "OMP_NUM_THREADS" not in rounds._environment()


def test_only_a_peer_whose_build_decides_on_instructions_is_built_again_for_a_lesser_processor() -> None:
    for lesser in LESSER_PROCESSORS.values():
        changed = {name for name, usual in ENVIRONMENTS.items() if environment_for(name, lesser) != usual}
        assert changed == {"llamacpp"}
        built = environment_for("llamacpp", lesser)
        assert built.name == f"llamacpp-{lesser.name}"  # a folder of its own
        assert "GGML_NATIVE=OFF" in built.variables["CMAKE_ARGS"]
        assert lesser.variables["QWEN_BATCH_CPU_TIER"] in [tier.name for tier in TIERS]
    assert all(environment_for(name, None) == usual for name, usual in ENVIRONMENTS.items())
