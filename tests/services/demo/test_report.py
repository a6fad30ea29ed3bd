"""The demo's table: observations from the read API become rows."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.demo.report import Row, Sent, differences, percentile, rows, table


def observation(tenant: str, kind: str = "SPAN", seconds: int = 0, level: str = "DEFAULT", **more) -> dict:
    return {
        "type": kind,
        "level": level,
        "startTime": "2026-03-01T10:00:00.000Z",
        "endTime": f"2026-03-01T10:00:{seconds:02d}.000Z",
        "metadata": {"tenant_id": tenant},
        **more,
    }


STORED = [
    observation("acme", "CHAIN", seconds=1),
    observation("acme", "CHAIN", seconds=3, level="ERROR"),
    observation("acme", "GENERATION", usageDetails={"input": 100, "output": 20, "total": 120}),
    observation("acme", "GENERATION", level="ERROR", usageDetails={}),
    observation("acme", "EMBEDDING", usageDetails={"input": 7}),
    observation("acme", "TOOL", level="ERROR", usageDetails={"input": 5_000}),
    observation("globex", "CHAIN", seconds=2),
]


def test_a_row_sums_up_a_tenants_observations():
    acme, globex = rows(STORED)

    assert acme == Row("acme", 2, 1, 2, 107, 20, p50=1.0, p95=3.0)
    assert globex == Row("globex", 1, 0, 0, 0, 0, p50=2.0, p95=2.0)


@pytest.mark.parametrize("deleted", [0, 1, 2, 3, 4, 6])
def test_deleting_a_counted_span_changes_the_rows(deleted):
    assert rows(STORED[:deleted] + STORED[deleted + 1 :]) != rows(STORED)


def test_observations_without_a_tenant_have_their_own_row():
    nameless = {**observation("x", "CHAIN"), "metadata": None}

    assert [row.tenant for row in rows([nameless])] == ["unknown"]


def test_matching_counts_have_no_differences():
    sent = {"acme": Sent(workflows=2, errors=1, llm_calls=2), "globex": Sent(workflows=1)}

    assert differences(rows(STORED), sent) == []


def test_each_differing_count_is_one_line():
    sent = {"acme": Sent(workflows=3, errors=1, llm_calls=1), "initech": Sent(workflows=1)}

    assert differences(rows(STORED), sent) == [
        "acme: 2 workflows stored, 3 sent",
        "acme: 2 llm calls stored, 1 sent",
        "initech: 0 workflows stored, 1 sent",
    ]


def test_the_table_shows_tenants_counts_and_times():
    console = Console(width=120, record=True, file=io.StringIO())

    console.print(table(rows(STORED)))

    shown = console.export_text()
    assert "acme" in shown
    assert "1.00 s" in shown
    assert "107" in shown


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95]))
def test_at_least_the_given_share_of_values_is_at_or_below_the_percentile(values, share):
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
