"""The figures of a series as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.series.results import Results
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.tasks.task import SHARED, Kind
from benchmarks.peers.tasks.workloads import SHARED_TOKENS
from benchmarks.report.limits import limit_of
from benchmarks.report.markdown import markdown_table
from benchmarks.report.medians import ROUNDS_TO_QUOTE, Case, Figure, figures, ratio, systems_of
from benchmarks.report.records_table import records_part

BUSY_SHARE = 0.03  # max share of the processors that other programs may use during a run
QUESTIONS: tuple[tuple[str, Kind, str], ...] = (  # heading, kind, ours to compare with
    ("one stream", "one_stream", "engine"),
    ("prefill of 1,024", "prefill", "engine"),
    ("batch of {requests}", "batch", "run"),
)


def page(results: Results, plots: list[str]) -> str:
    """Return the page: the figures, the machine, the versions and the commands.

    Args:
        results: The series.
        plots: File names of the pictures in the page's folder.
    """
    found = figures(results.measurements)
    parts = [
        "# Against the peers: one series",
        "`make bench-peers` writes this page. [benchmarks.md](../benchmarks.md) explains how to read it.",
        *_warnings(results, found),
        _machine(results, found),
        "## All systems",
        _main_table(results, found),
        "The tables have tokens per second, medians. Brackets hold how many times as fast qwen-batch is. One stream "
        "and prefill compare its engine, and the batch compares `qwen-batch run`. Weights are compared with "
        "weights of as many bits. The limit is what memory bandwidth and matrix speed allow with bfloat16 weights. "
        f"An asterisk marks figures of fewer than {ROUNDS_TO_QUOTE} rounds, too few to be quoted.",
        *_batches(results, found),
        *_shared(found),
        *records_part(results.measurements),
        *(f"![{name.removesuffix('.png')}]({name})" for name in plots),
        "## Versions",
        *_versions(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _warnings(results: Results, found: dict[Case, Figure]) -> Iterator[str]:
    share = max((found.others_share for found in results.measurements), default=0.0)
    if share > BUSY_SHARE:
        yield (
            f"**The machine was busy: other programs used up to {share:.0%} of the processors during a measurement. "
            "These figures are not to be quoted.**"
        )
    if not any(figure.may_be_quoted for figure in found.values()):
        yield "**Too few rounds to be quoted.**"
    for key, reason in results.failures.items():
        yield f"**{_name(key)} did not run:** {reason}"


def _machine(results: Results, found: dict[Case, Figure]) -> str:
    machine, cost = results.machine, results.model.cost
    counts = sorted({figure.rounds for figure in found.values()})
    held = f"; held to {machine.held_to}" if machine.held_to else ""
    rounds = " or ".join(map(str, counts)) or "none"
    rows = [
        ["processor", f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB"],
        ["instructions", (", ".join(machine.instructions) or "-") + held],
        ["reads from memory, measured", f"{machine.speed.read_bytes_per_second / 1e9:.0f} GB/s"],
        ["products, measured", f"{machine.speed.flop_per_second / 1e9:,.0f} GFLOP/s"],
        ["model", f"{results.model.name}, {cost.parameters / 1e6:,.0f} M parameters, {results.threads} threads"],
        ["measured", f"{results.started_at}, rounds: {rounds}, {machine.system}, Python {machine.python}"],
    ]
    return markdown_table(["", ""], rows)


def _main_table(results: Results, found: dict[Case, Figure]) -> str:
    heads = [heading.format(requests=results.batch_requests) for heading, _, _ in QUESTIONS]
    rows = []
    for key in systems_of(found):
        cells = [_cell(found, key, kind, ours, results.batch_requests) for _, kind, ours in QUESTIONS]
        if any(cell != "-" for cell in cells):
            rows.append([_name(key), *cells])
    limits = ["limit of this machine"]
    for _, kind, _ in QUESTIONS:
        requests = results.batch_requests if kind == "batch" else 1
        sample = next((figure.sample for case, figure in found.items() if case[1:] == (kind, requests, 0)), None)
        limits.append("-" if sample is None else f"{limit_of(results, sample):.1f}")
    return markdown_table(["", *heads], [*rows, limits])


def _cell(found: dict[Case, Figure], key: str, kind: Kind, ours: str, batch_requests: int) -> str:
    requests = batch_requests if kind == "batch" else 1
    theirs = found.get(Case(key, kind, requests, 0))
    bits = SYSTEMS[key].bits
    ours = ours if bits == 16 else f"{ours}-int{bits}"
    times = ratio(found.get(Case(ours, kind, requests, 0)), theirs)
    if theirs is None:
        return "-"
    return _rate(theirs, None if key == ours else times)


def _rate(figure: Figure, times: float | None) -> str:
    """Return a rate, with the number of times that qwen-batch is as fast."""
    shown = f"{figure.rate:.1f}{figure.mark}"
    return shown if times is None else f"{shown} ({times:.2f})"


def _batches(results: Results, found: dict[Case, Figure]) -> Iterator[str]:
    """Return the table of all batches, for the systems that ran more than one."""
    batches = sorted({(case.requests, case.seed) for case in found if case.kind == "batch"})
    systems = [key for key in systems_of(found) if sum(case[:2] == (key, "batch") for case in found) > 1]
    rows = []
    for requests, seed in batches:
        cases = [Case(key, "batch", requests, seed) for key in systems]
        present = [found[case] for case in cases if case in found]
        if not present:
            continue
        ours = found.get(Case("run", "batch", requests, seed))
        cells = [_batch_cell(ours, found.get(case), case.system) for case in cases]
        limit = limit_of(results, present[0].sample)
        share = "-" if ours is None else f"{ours.rate / limit:.0%}"
        rows.append([f"{requests}", f"{seed}", *cells, f"{limit:.0f}", share])
    if rows:
        heads = ["requests", "seed", *(_name(key) for key in systems), "limit", "share that `run` reaches"]
        yield "## Batches of other sizes and seeds"
        yield markdown_table(heads, rows)


def _shared(found: dict[Case, Figure]) -> Iterator[str]:
    """Return the table of prompts that begin alike, for the systems that ran them."""
    cases = sorted({(case.kind, case.requests) for case in found if case.kind in SHARED})
    rows = []
    for key in systems_of(found):
        figures_of = [found.get(Case(key, kind, requests, 0)) for kind, requests in cases]
        if any(figures_of):
            ours = [found.get(Case("run", kind, requests, 0)) for kind, requests in cases]
            pairs = zip(ours, figures_of, strict=True)
            rows.append([_name(key), *(_batch_cell(mine, theirs, key) for mine, theirs in pairs)])
    if rows:
        heads = [f"{SHARED_TOKENS[kind]:,} shared tokens, {requests} requests" for kind, requests in cases]
        yield "## Prompts that begin alike"
        yield markdown_table(["", *heads], rows)


def _batch_cell(ours: Figure | None, theirs: Figure | None, key: str) -> str:
    times = ratio(ours, theirs)
    return "-" if theirs is None else _rate(theirs, None if key == "run" else times)


def _versions(results: Results) -> Iterator[str]:
    versions = {found.system: found.version for found in results.measurements}
    spreads: dict[str, float] = {}
    for case, figure in figures(results.measurements).items():
        spreads[case.system] = max(spreads.get(case.system, 0.0), figure.spread)
    rows = [[_name(key), versions[key], f"{spreads[key]:.0%}"] for key in spreads]
    yield markdown_table(["", "version", "widest spread of a figure"], rows)


def _name(key: str) -> str:
    return SYSTEMS[key].name if key in SYSTEMS else key
