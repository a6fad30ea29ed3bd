"""Cost per successful workflow: all cost with the workflow's label, by the traces in which it succeeded."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal

import pytest

from somatrace.costs import cost_report
from tests.costs.test_cost_report import SECOND, START, call, either, langfuse
from tests.costs.test_costs_command import costs
from tests.support.waiting import HANG

__all__ = ["costs", "either", "langfuse"]


class Work:
    """Workflows with a call each, as services send them."""

    def __init__(self, export) -> None:
        self.request = export()

    def run(
        self, workflow="pay", tenant="acme", *, failed=None, cost="0.25", root=None, model="m", start=START
    ):
        tags = call(tenant, workflow=workflow, cost=cost, model=model)
        own = {key: value for key, value in tags.items() if key.startswith("langfuse.trace.")}
        span = self.request.span(
            workflow,
            parent=root,
            start_ns=start,
            failed=failed,
            attributes={**own, "langfuse.observation.type": "chain"},
        )
        self.request.span("chat", parent=span, start_ns=start, attributes=tags)
        return span


@pytest.fixture
def work(export):
    return Work(export)


def figures(row) -> tuple[int | None, Decimal | None]:
    return row.workflows, row.cost_per_workflow


def test_the_cost_of_failed_runs_is_that_of_the_successful_ones(either):
    service = """
import somatrace
from somatrace import bind, span, usage
somatrace.init_tracing("billing")
def run(workflow, fails=False):
    with bind(tenant_id="acme"), span(workflow, kind="workflow"):
        with span("ask", kind="llm"):
            usage(model="own-1", input_tokens=1000, output_tokens=100, cost=0.25)
        if fails:
            raise ValueError("no")
for _ in range(3):
    run("pay")
for name in ("pay", "refund"):
    try:
        run(name, fails=True)
    except ValueError:
        pass
with bind(tenant_id="acme", workflow_name="ask"), span("ask", kind="llm"):
    usage(model="own-1", input_tokens=1000, output_tokens=100, cost=8)
assert somatrace.flush(60)
"""
    subprocess.run([sys.executable, "-c", service], check=True, timeout=HANG)

    report = cost_report(by="workflow")

    assert report.row("pay").cost == Decimal(1)
    assert figures(report.row("pay")) == (3, Decimal("0.333333333333"))
    assert figures(report.row("refund")) == (0, None)
    assert figures(report.row("ask")) == (None, None)
    assert figures(report.total) == (3, Decimal("0.416666666667"))


def test_a_trace_counts_once_and_a_second_try_that_succeeds_makes_it_successful(either, work):
    root = work.request.span("batch", start_ns=START)
    for failed in ("no", None, None):
        work.run(root=root, failed=failed, cost="1")
    either.send(work.request)

    assert figures(cost_report(by="workflow").row("pay")) == (1, Decimal(3))


def test_models_have_a_part_each_of_what_a_workflow_costs(either, work):
    for model, cost in (("small", "1"), ("large", "5")):
        work.run(model=model, cost=cost)
    either.send(work.request)

    report = cost_report(by="workflow,model")

    assert figures(report.row("pay", "small")) == (2, Decimal("0.5"))
    assert figures(report.row("pay", "large")) == (2, Decimal("2.5"))
    assert figures(report.total) == (2, Decimal(3))


def test_tenants_and_days_have_their_own_workflows(either, work):
    for number in range(4):
        work.run(tenant="acme" if number else "globex", start=START - number % 2 * 86400 * SECOND)
    either.send(work.request)

    tenants, days = cost_report(by="tenant,workflow"), cost_report(by="day,workflow")

    assert tenants.row("acme", "pay").workflows == 3
    assert tenants.row("globex", "pay").workflows == 1
    assert [row.workflows for row in days.rows] == [2, 2]
    assert tenants.total.workflows == days.total.workflows == 4


def test_only_the_spans_that_name_workflows_with_calls_count(either, work):
    span = work.run()
    tags = {"langfuse.observation.type": "chain", "langfuse.trace.tags": ["workflow:pay"]}
    work.request.span("parse", start_ns=START, attributes=tags)
    work.request.span(
        "clean-up", start_ns=START, attributes={**tags, "langfuse.trace.tags": ["workflow:clean-up"]}
    )
    work.request.span(
        "pay", parent=span, start_ns=START, attributes={"langfuse.trace.tags": ["workflow:pay"]}
    )
    either.send(work.request)

    report = cost_report(by="workflow")

    assert [row.labels for row in report.rows] == [("pay",)]
    assert report.total.workflows == report.row("pay").workflows == 1


def test_an_unknown_cost_has_no_quotient(either, work):
    work.run(cost=None)
    either.send(work.request)

    assert figures(cost_report(by="workflow").row("pay")) == (1, None)


def test_a_report_that_is_not_by_workflow_has_none(either, work):
    work.run()
    either.send(work.request)

    report = cost_report(by="tenant")

    assert figures(report.total) == (None, None)
    assert "workflow" not in "".join(report.lines())


def test_every_form_of_the_report_has_both_figures(langfuse, work, costs):
    work.run(cost="1")
    work.run(cost="2", failed="no")
    langfuse.send(work.request)

    lines = costs("--by", "workflow").stdout.splitlines()
    row, total = json.loads(costs("--by", "workflow", "--json").stdout)["rows"][0], lines[2]
    heading, figures = costs("--by", "workflow", "--csv").stdout.splitlines()

    assert lines[0].split()[-2:] == ["workflows", "USD/workflow"]
    assert total.split()[-2:] == ["1", "3.000000"]
    assert (row["workflows"], row["cost_per_workflow_usd"]) == (1, "3.0")
    assert heading.endswith(",workflows,cost_per_workflow_usd")
    assert figures.endswith(",1,3.0")
    assert ">USD/workflow</th>" in costs("--by", "workflow", "--html").stdout
