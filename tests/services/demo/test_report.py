"""The demo's table: observations from the read API become rows."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from services.demo.report import Row, Sent, differences, percentile, rows, table


def observation(  # noqa: PLR0917 - read from left to right like a row
    number: int, trace: str, tenant: str, kind: str = "SPAN", seconds: int = 0, level: str = "DEFAULT", **more
) -> dict:
    """A span of a trace; the first one is its root, and the workflow "ask"."""
    return {
        "id": f"{number:016x}",
        "traceId": trace,
        "parentObservationId": None if kind == "CHAIN" else "0" * 16,
        "name": "ask" if kind == "CHAIN" else "part",
        "type": kind,
        "level": level,
        "startTime": "2026-03-01T10:00:00.000Z",
        "endTime": f"2026-03-01T10:00:{seconds:02d}.000Z",
        "metadata": {"tenant_id": tenant, "workflow_name": "ask"},
        **more,
    }


def usage(**counts: int) -> dict[str, dict[str, int]]:
    return {"usageDetails": {**counts, "total": sum(counts.values())}}


STORED = [
    observation(1, "one", "acme", "CHAIN", seconds=1),
    observation(2, "two", "acme", "CHAIN", seconds=3, level="ERROR"),
    observation(3, "one", "acme", "GENERATION", **usage(input=100, output=20), totalCost=0.25),
    observation(4, "two", "acme", "GENERATION", level="ERROR"),
    observation(5, "one", "acme", "EMBEDDING", **usage(input=7)),
    observation(6, "one", "acme", "TOOL", level="ERROR", **usage(input=5_000)),
    observation(7, "three", "globex", "CHAIN", seconds=2),
]


def test_a_row_sums_up_a_tenants_observations():
    acme, globex = rows(STORED)

    assert acme == Row("acme", 2, 1, 1, 3, 107, 20, cost=0.25, p50=1.0, p95=3.0)
    assert globex == Row("globex", 1, 0, 0, 0, 0, 0, cost=0, p50=2.0, p95=2.0)


def test_a_workflow_inside_another_one_is_not_a_further_one():
    chain = {"name": "RunnableSequence", "parentObservationId": "0" * 15 + "1"}
    inner = observation(8, "one", "acme", "CHAIN", level="ERROR", **chain)

    acme, _ = rows([*STORED, inner])

    assert (acme.workflows, acme.errors, acme.recovered) == (2, 1, 1)


def test_a_span_around_a_call_that_has_its_usage_is_no_further_call():
    around = observation(8, "one", "acme", "GENERATION")
    around["metadata"]["attributes.somatrace.usage_counted"] = "below"

    assert rows([*STORED, around]) == rows(STORED)


def test_tokens_belong_to_the_tenant_of_the_span_that_made_them():
    call = observation(8, "three", "acme", "GENERATION", **usage(input=9))

    acme, globex = rows([*STORED, call])

    assert (acme.input_tokens, globex.input_tokens) == (116, 0)
    assert (acme.workflows, globex.workflows) == (3, 1)


@pytest.mark.parametrize("deleted", range(7))
def test_deleting_a_counted_span_changes_the_rows(deleted):
    assert rows(STORED[:deleted] + STORED[deleted + 1 :]) != rows(STORED)


def test_observations_without_a_tenant_have_their_own_row():
    nameless = {**observation(1, "one", "x", "CHAIN"), "metadata": None}

    assert [row.tenant for row in rows([nameless])] == ["unknown"]


def test_matching_counts_have_no_differences():
    sent = {"acme": Sent(workflows=2, errors=1, llm_calls=3), "globex": Sent(workflows=1)}

    assert differences(rows(STORED), sent) == []


def test_each_differing_count_is_one_line():
    sent = {"acme": Sent(workflows=3, errors=1, llm_calls=1), "initech": Sent(workflows=1)}

    assert differences(rows(STORED), sent) == [
        "acme: 2 workflows stored, 3 sent",
        "acme: 3 llm calls stored, 1 sent",
        "initech: 0 workflows stored, 1 sent",
    ]


def test_the_table_shows_tenants_counts_and_times():
    console = Console(width=120, record=True, file=io.StringIO())

    console.print(table(rows(STORED)))

    shown = console.export_text()
    assert "acme" in shown
    assert "1.00 s" in shown
    assert "107" in shown
    assert "$0.25" in shown


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.95]))
def test_at_least_the_given_share_of_values_is_at_or_below_the_percentile(values, share):
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
