"""The benchmark of a span from its start to the backend (`make bench-road`)."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks.road.__main__ import TABLES
from benchmarks.road.cases import Case
from benchmarks.road.measure import Bench, Series
from benchmarks.road.sink import arrived, sink

ROWS = {
    "off": ("content off, Langfuse target", "local target, one listener", "caller's thread", "plain SDK"),
    "on": ("redacted, beside redaction", "one third-party processor", "Redaction itself"),
    "small": ("`span()` block", "disabled", "bytes per queued span", "`redact_text`, 2 KB"),
    "burst": ("plain SDK, its default queue", "somatrace, its default queue", "somatrace, 128 MB"),
    "start": ("start, nothing configured",),
    "width": ("| 1 task |", "| 1,000 tasks |", "| 32 threads |", "| 10 attributes |", "| 128 attributes |"),
    "calls": ("| openai |", "| langchain |"),
    "costs": ("| price of a known model |", "| price and attributes |", "| entry in the ledger |"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine takes ten times as long as a quiet one
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_measured_and_no_row_is_void(table, root):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.road", "--quick", "--only", table],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=590,
    )

    assert done.returncode == 0, done.stderr
    for row in ROWS[table]:
        assert row in done.stdout
    assert "void" not in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_a_program_whose_spans_do_not_all_arrive_is_void():
    few = Case(
        "sdk", "paced", further={"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8"}
    )
    with sink() as address:
        found = Bench(address, rounds=1, spans=2000, rate=1e9).measure("few", {"few": few})

    assert re.fullmatch(r"\d+ of 2500 spans arrived", found["few"].void)


def test_the_sink_counts_nothing_before_something_arrives():
    with sink() as address:
        assert arrived(address).spans == 0


def test_the_spread_is_the_range_over_the_median():
    assert Series([{"process": value} for value in (9.0, 10.0, 12.0)]).spread("process") == pytest.approx(0.3)
