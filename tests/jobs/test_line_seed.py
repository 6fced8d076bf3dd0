"""The seed of a line that names none."""

from __future__ import annotations

from jobs.records.sampling import line_seed

# The first outputs of SplitMix64 started at 0, from its published code.
SPLITMIX64_FROM_0 = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)


def test_the_seeds_of_a_jobs_lines_are_splitmix64s_outputs_in_63_bits() -> None:
    assert tuple(line_seed(0, index) for index in range(3)) == tuple(bits >> 1 for bits in SPLITMIX64_FROM_0)


def test_another_job_seed_gives_other_line_seeds() -> None:
    assert {line_seed(1, index) for index in range(100)}.isdisjoint({line_seed(0, index) for index in range(100)})
