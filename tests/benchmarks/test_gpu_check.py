"""What is run first on a machine with a card, as far as a machine without one can tell."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.gpu import check as gpu_check
from benchmarks.gpu import operator_checks
from benchmarks.gpu.finding import Finding
from benchmarks.gpu.model_checks import check_model
from benchmarks.gpu.speeds import Workload, limit
from cli.offline.roofline import MachineSpeed, ModelCost
from engine.config import EngineConfig
from testing.models.byte_level_tokenizer import write_byte_level_tokenizer
from testing.models.paged_sequences import Heads, PagedSequences
from testing.models.tiny_checkpoint import write_tiny_checkpoint

CPU = torch.device("cpu")


def test_a_machine_without_a_card_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "There is no CUDA card that PyTorch can use on this machine.\n")


@pytest.mark.parametrize(("figure", "ok"), [(0.0, True), (0.5, True), (0.6, False), (math.nan, False)])
def test_a_wrong_figure_is_never_overlooked(figure: float, ok: bool, capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("one", 0, 0), Finding("another", figure, 0.5), Finding("a third", 0, 0)]
    assert gpu_check.report_checks(iter(findings), Console(width=80)) == ok
    assert ("WRONG" in capsys.readouterr().out) != ok


def test_the_checks_find_nothing_wrong_with_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_checks, "SHAPES", (Heads(4, 2, 32),))
    folder = write_tiny_checkpoint(write_byte_level_tokenizer(tmp_path / "model"), vocab_size=257)
    config = EngineConfig(device="cpu", compile=False, threads=1)
    findings = [*operator_checks.check_operators(CPU), *check_model(folder, config, CPU)]
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) == 2 * (4 + 1) + 4


def test_an_operator_that_mixes_pages_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_checks, "SHAPES", (Heads(4, 2, 32),))
    tables = PagedSequences.page_tables
    monkeypatch.setattr(PagedSequences, "page_tables", lambda *a: tables(*a).flip(1).contiguous())
    assert any(not finding.ok for finding in operator_checks.check_operators(CPU))


def test_the_batch_is_that_of_nano_vllm() -> None:
    workload = Workload.nano_vllm()
    assert (len(workload.prompts), workload.output_tokens, workload.temperature) == (256, 133_966, 0.6)
    assert max(map(max, workload.within(500).prompts)) == 499


def test_a_batch_reads_its_cache_for_every_token() -> None:
    model = ModelCost(
        parameters=0,
        weight_bytes=1000,
        flop_per_decoded_token=1.0,
        flop_per_prefilled_token=1.0,
        cache_bytes_per_token=10,
    )
    card = MachineSpeed(read_bytes_per_second=1e6, flop_per_second=1e9)
    assert limit(Workload([[1] * 8], [4], 0), model, card) == 1e6 / 1000
    reads = (3 * 2 + 3) * 10 + (1 * 5 + 0) * 10 + 3 * 1000
    assert limit(Workload([[1, 2], [1] * 5], [3, 1], 0), model, card) == pytest.approx(4 / (reads / 1e6))
