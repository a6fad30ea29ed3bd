"""Reports by what the program put on its spans: tags that it bound, and attributes of the calls."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

from somatrace.costs import cost_report
from tests.costs.test_cost_report import START, call, either, langfuse
from tests.support.llm_server import llm_server
from tests.support.waiting import HANG

__all__ = ["either", "langfuse"]


def test_bound_tags_reach_the_calls_of_client_libraries(either, monkeypatch):
    service = """
import openai
import somatrace
from somatrace import bind, span, usage
somatrace.init_tracing("billing")
def ask():
    openai.OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "hello"}]
    )
with bind(tenant_id="acme", brand="north", shelf=7):
    ask()
with span("order", tenant_id="acme", brand="south", shelf="on the span alone"):
    ask()
with span("own", kind="llm", shelf="9b"):
    usage(model="gpt-4o-mini", input_tokens=10, output_tokens=10)
assert somatrace.flush(60)
"""
    with llm_server() as provider:
        for name, value in provider.env.items():
            monkeypatch.setenv(name, value)
        subprocess.run([sys.executable, "-c", service], check=True, timeout=HANG)

    report = cost_report(by="tenant,brand,shelf")

    # an attribute of a span is not that of the spans below it; a known tag, such as brand, is
    assert {row.labels: row.calls for row in report.rows} == {
        ("acme", "north", "7"): 1,
        ("acme", "south", ""): 1,
        ("unknown", "", "9b"): 1,
    }


def test_every_type_of_value_has_a_label(either, export):
    request = export()
    values = {"text": "a b", "true": True, "number": 3, "list": ["a", "b"]}
    for value in values.values():
        request.span(start_ns=START, attributes=call("acme", **{"app.what": value}))
    either.send(request)

    report = cost_report(by=["app.what"])

    assert {row.labels[0] for row in report.rows} == {"a b", "true", "3", '["a", "b"]'}
    assert report.row("a b").cost == Decimal("0.25")


def test_metadata_of_the_trace_comes_before_the_span_s_own_attribute(either, export):
    request = export()
    both = {"brand": "own", "langfuse.trace.metadata.brand": "bound"}
    request.span(start_ns=START, attributes=call("acme", **both))
    either.send(request)

    assert [row.labels for row in cost_report(by="brand").rows] == [("bound",)]


def test_workflows_are_counted_by_the_attributes_of_their_own_spans(either, export):
    request = export()
    tags = {"langfuse.trace.tags": ["workflow:pay"], "langfuse.trace.metadata.brand": "north"}
    outer = request.span("pay", start_ns=START, attributes={"langfuse.observation.type": "chain", **tags})
    request.span(parent=outer, start_ns=START, attributes=call("acme") | tags)
    either.send(request)

    assert cost_report(by="workflow,brand").row("pay", "north").workflows == 1


def test_an_attribute_that_no_call_has_is_named(either, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme"))
    either.send(request)

    report = cost_report(by="tenants")

    assert [row.labels for row in report.rows] == [("",)]
    assert "costs: no call has the attribute tenants; other names are tenant, workflow" in "\n".join(
        report.lines()
    )
