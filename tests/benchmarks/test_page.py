"""The page says what was measured, against what limit, and when it should not be believed."""

from __future__ import annotations

import msgspec

from benchmarks.peers.series.results import Measurement
from benchmarks.report.markdown import markdown_table
from benchmarks.report.tables import page
from tests.benchmarks.measurements import measurement, session, thrice


def row_of(text: str, name: str) -> list[str]:
    """Cells of the first table row that begins with `name`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_system_stands_beside_the_ratio_to_ours() -> None:
    text = page(
        session(
            *thrice(
                measurement("run", 1),
                measurement("openvino", 2),
                measurement("engine", 10, kind="one_stream", requests=1),
                measurement("openvino", 20, kind="one_stream", requests=1),
            )
        ),
        [],
    )
    assert row_of(text, "qwen-batch run") == ["qwen-batch run", "-", "-", "100.0"]
    assert row_of(text, "qwen-batch, engine alone") == ["qwen-batch, engine alone", "10.0", "-", "-"]
    assert row_of(text, "OpenVINO GenAI") == ["OpenVINO GenAI", "5.0 (2.00)", "-", "50.0 (2.00)"]


def test_the_limit_follows_from_the_machine_that_was_measured() -> None:
    text = page(session(*thrice(measurement("run", 10), measurement("run", 20, seed=1))), [])
    assert row_of(text, "limit of this machine") == ["limit of this machine", "-", "-", "11.1"]  # 100 tokens in 9 s
    assert row_of(text, "64") == ["64", "0", "10.0", "11", "90%"]


def test_prompts_that_begin_alike_have_a_table_of_their_own() -> None:
    cases = [measurement(key, seconds, kind="shared", requests=8) for key, seconds in (("run", 1), ("vllm", 4))]
    text = page(session(*(each for case in cases for each in thrice(case))), [])
    assert "| 600 shared tokens, 8 requests |" in text
    assert row_of(text, "vLLM for CPUs") == ["vLLM for CPUs", "25.0 (4.00)"]


def test_records_have_a_table_of_valid_lines() -> None:
    def records(system: str, seconds: float, valid: int) -> Measurement:
        return msgspec.structs.replace(measurement(system, seconds, "records", 50), more={"valid_lines": valid})

    ours = [msgspec.structs.replace(records("run", 5, 50), output_tokens=tokens) for tokens in (99, 100, 101)]
    text = page(session(*ours, *thrice(records("openvino", 10, 40)), records("vllm", 10, 0)), [])
    assert row_of(text, "qwen-batch run") == ["qwen-batch run", "50", "50", "2.0", "20.0", "10.00"]
    assert row_of(text, "OpenVINO GenAI") == ["OpenVINO GenAI", "50", "40", "2.0", "10.0", "4.00 (2.50)"]
    assert row_of(text, "vLLM for CPUs") == ["vLLM for CPUs", "50", "0", "2.0", "10.0*", "0.00*"]
    assert "Records" not in page(session(*thrice(measurement("run", 1))), [])


def test_a_busy_machine_or_too_few_rounds_are_said_in_bold() -> None:
    assert "**" not in page(session(*thrice(measurement("run", 1))), [])
    disturbed = msgspec.structs.replace(measurement("run", 1), others_share=0.4)
    text = page(session(disturbed, *thrice(measurement("run", 1))), [])
    assert "up to 40% of the processors" in text and "not to be quoted" in text
    assert "**Too few rounds to be quoted.**" in page(session(measurement("run", 1)), [])


def test_a_figure_of_fewer_than_three_rounds_is_marked() -> None:
    text = page(session(*thrice(measurement("run", 1)), measurement("openvino", 2)), [])
    assert "**" not in text
    assert "rounds: 1 or 3," in text
    assert row_of(text, "qwen-batch run")[-1] == "100.0"
    assert row_of(text, "OpenVINO GenAI")[-1] == "50.0* (2.00)"


def test_a_system_that_did_not_run_is_named_with_the_reason() -> None:
    results = session(measurement("run", 1))
    results.failures["vllm"] = "its installation failed"
    assert "**vLLM for CPUs did not run:** its installation failed" in page(results, [])


def test_nothing_measured_is_a_page_too() -> None:
    assert "limit of this machine" in page(session(), [])


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert markdown_table(["", "rate"], [["a", "1.0"], ["longer", "100,000"]]).splitlines() == [
        "|        |    rate |",
        "| ------ | ------: |",
        "| a      |     1.0 |",
        "| longer | 100,000 |",
    ]
