"""The name of a file with its model and options."""

from __future__ import annotations

import msgspec
import pytest

from jobs.files.file_report import BadLines, FileReport
from jobs.records.line_defaults import LineDefaults
from jobs.records.sampling import SamplingSettings
from jobs.submission.submit_options import SubmitOptions, fingerprint_of

REPORT = FileReport("prompts.jsonl", "native", 20, BadLines(), digest="abc")
OPTIONS = SubmitOptions("demo")


def test_the_same_file_and_options_are_the_same_run() -> None:
    renamed = FileReport("copy.jsonl", "native", 20, BadLines(), digest="abc")
    assert fingerprint_of(REPORT, "demo", OPTIONS) == fingerprint_of(renamed, "demo", OPTIONS)


@pytest.mark.parametrize(
    ("report", "model", "options"),
    [
        (FileReport("prompts.jsonl", "native", 20, BadLines(), digest="def"), "demo", OPTIONS),
        (REPORT, "./demo", OPTIONS),
        (REPORT, "demo", SubmitOptions("other")),
        (REPORT, "demo", SubmitOptions("demo", seed=1)),
        (REPORT, "demo", SubmitOptions("demo", skip_invalid=True)),
        (REPORT, "demo", SubmitOptions("demo", line_defaults=LineDefaults(thinking=False))),
        (REPORT, "demo", SubmitOptions("demo", msgspec.structs.replace(SamplingSettings(), max_tokens=5))),
    ],
)
def test_another_file_model_or_option_is_another_run(report: FileReport, model: str, options: SubmitOptions) -> None:
    assert fingerprint_of(report, model, options) != fingerprint_of(REPORT, "demo", OPTIONS)


def test_a_run_with_weights_of_8_bits_is_another_run() -> None:
    assert fingerprint_of(REPORT, "demo", OPTIONS, quantize="int8") != fingerprint_of(REPORT, "demo", OPTIONS)
