"""A lower tier of kernels, which a user may force, gives the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.kernels.tiers import VARIABLE, Processor
from testing.processes.command_line import REPOSITORY, environment, qwen_batch, read_jsonl

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("built_kernels")]

LOWER_TIERS = [tier.name for tier in Processor.inspect().tiers()[:-1]]


def answers(folder: Path, **variables: str) -> tuple[str, dict[str, str]]:
    """The device that answered the examples, and the completion of each line."""
    results, statistics = folder / "results.jsonl", folder / "stats.json"
    arguments = ("run", REPOSITORY / "examples" / "prompts.jsonl", "-o", results, "--stats", statistics)
    done = qwen_batch(*arguments, env=environment(folder / "state", **variables))
    assert done.returncode == 0, done.stderr
    (share,) = json.loads(statistics.read_text(encoding="utf-8"))["workers"]
    return share["device"], {line["id"]: line["completion"] for line in read_jsonl(results)}


@pytest.fixture(scope="module")
def usual_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return answers(tmp_path_factory.mktemp("usual"))[1]


@pytest.mark.parametrize("tier", LOWER_TIERS)
def test_each_lower_tier_gives_the_same_answers(tier: str, usual_answers: dict[str, str], tmp_path: Path) -> None:
    device, given = answers(tmp_path, **{VARIABLE: tier})
    assert device == f"cpu ({tier})"
    assert given == usual_answers
