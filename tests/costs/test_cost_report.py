"""`cost_report` gives back exactly what was sent, from a server over a socket and from the local store."""

from __future__ import annotations

import datetime as dt
import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from somatrace import Config, semconv
from somatrace.costs import cost_report
from somatrace.costs.period import CostQueryError
from tests.smoke.backend import running
from tests.support.local_server import NOW
from tests.support.ports import refusing_port
from tests.support.waiting import HANG

PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
SECOND = 1_000_000_000
#: On a whole millisecond, as backends show times, and long enough ago for every test to be over before today.
START = (NOW - 3600 * SECOND) // SECOND * SECOND


def call(
    tenant: str, *, workflow="pay", agent="a1", model="small-1", cost: str | None = "0.25", **more
) -> dict:
    attributes = {
        "langfuse.trace.metadata.tenant_id": tenant,
        "langfuse.trace.metadata.workflow_name": workflow,
        "langfuse.trace.metadata.agent_id": agent,
        "langfuse.trace.tags": [f"tenant:{tenant}", f"workflow:{workflow}", f"agent:{agent}"],
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.response.model": model,
        "langfuse.observation.usage_details": json.dumps({"input": 10, "output": 2}),
    }
    if cost is None:
        attributes[semconv.COST_SOURCE] = "unknown"
    else:
        attributes[semconv.COST_SOURCE] = "table"
        attributes[semconv.OBSERVATION_COST] = json.dumps({"total": float(cost)})
    return {**attributes, **more}


@pytest.fixture
def langfuse(server, monkeypatch):
    """The server as the Langfuse of this process's settings."""
    monkeypatch.setenv("LANGFUSE_BASE_URL", server.url)
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", server.keys.public_key)
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", server.keys.secret_key)
    return server


@pytest.fixture(params=["langfuse", "local"])
def either(request, server, monkeypatch):
    """The server, read over its socket, or its store, read from the disk."""
    if request.param == "langfuse":
        return request.getfixturevalue("langfuse")
    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(server.data_dir))
    return server


def test_the_figures_of_each_tenant_are_those_sent(either, export):
    request = export()
    for number in range(1, 21):
        request.span(start_ns=START, seconds=number / 10, attributes=call("acme", cost="0.1"))
    request.span(start_ns=START, seconds=3, failed="no", attributes=call("globex", cost="0.000001"))
    request.span("pay", start_ns=START, attributes={"langfuse.trace.tags": ["tenant:acme"]})
    either.send(request)

    report = cost_report()

    acme, globex = report.row("acme"), report.row("globex")
    assert (acme.calls, acme.errors, acme.input_tokens, acme.output_tokens) == (20, 0, 200, 40)
    assert (acme.cost, acme.unknown) == (Decimal("2.0"), 0)
    assert (acme.p50, acme.p95, acme.p99) == (1000, 1900, 2000)
    assert (globex.calls, globex.errors, globex.cost) == (1, 1, Decimal("0.000001"))
    assert (report.total.calls, report.total.errors, report.total.cost) == (21, 1, Decimal("2.000001"))
    assert report.rows == (acme, globex)
    assert (report.exit_code, report.cut, report.unpriced) == (0, False, {})


def test_the_source_says_where_the_figures_come_from(server, langfuse, monkeypatch):
    assert (cost_report().source, cost_report().where) == ("langfuse", server.url)

    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(server.data_dir))

    assert (cost_report(source="local").source, cost_report(source="local").where) == (
        "local",
        str(server.data_dir),
    )


def test_a_report_can_be_by_everything_in_any_order(either, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme", workflow="refund", agent="1.10", model="m"))
    either.send(request)
    day = dt.datetime.fromtimestamp(START / 1e9, dt.UTC).date().isoformat()

    report = cost_report(by="day,service,provider,model,agent,workflow,tenant")

    assert [row.labels for row in report.rows] == [(day, "checkout", "openai", "m", "1.10", "refund", "acme")]


def test_days_are_in_order_and_other_rows_by_cost(either, export):
    request = export()
    request.span(start_ns=START - 2 * 86400 * SECOND, attributes=call("acme", cost="1"))
    request.span(start_ns=START - 3 * 86400 * SECOND, attributes=call("globex", cost="2"))
    either.send(request)

    assert [row.labels[0] for row in cost_report().rows] == ["globex", "acme"]
    days = [row.labels[0] for row in cost_report(by=["day"]).rows]
    assert days == sorted(days)


def test_an_unknown_cost_is_counted_apart_and_named_and_never_zero(either, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme", cost="0.5"))
    for _ in range(2):
        request.span(start_ns=START, attributes=call("acme", cost=None, model="own-1"))
    request.span(start_ns=START, attributes=call("globex", cost=None, model="own-2"))
    # a backend's own price of a model is not what the span says
    request.span(
        start_ns=START, attributes=call("globex", cost=None, model="own-2", **{"gen_ai.usage.cost": 7.0})
    )
    either.send(request)

    report = cost_report()

    assert (report.row("acme").cost, report.row("acme").unknown) == (Decimal("0.5"), 2)
    assert (report.row("globex").cost, report.row("globex").unknown) == (None, 2)
    assert report.unpriced == {"own-1": 2, "own-2": 2}
    assert any("own-1 2, own-2 2" in line for line in report.lines())


def test_a_call_without_usage_is_unknown_unless_it_failed_or_came_from_a_cache(either, export):
    without = call("acme")
    for key in ("langfuse.observation.usage_details", semconv.COST_SOURCE, semconv.OBSERVATION_COST):
        del without[key]
    request = export()
    request.span(start_ns=START, attributes=without)
    request.span(start_ns=START, failed="no", attributes=without)
    request.span(start_ns=START, attributes={**without, semconv.CACHE_HIT: True})
    either.send(request)

    total = cost_report().total

    assert (total.calls, total.unknown, total.cost) == (3, 1, Decimal())


def test_other_currencies_are_not_added_to_dollars(either, export):
    euros = call("acme", cost="0.5")
    del euros[semconv.OBSERVATION_COST]
    euros |= {semconv.COST_CURRENCY: "EUR", semconv.COST_AMOUNT: 0.5, semconv.COST_SOURCE: "file"}
    request = export()
    request.span(start_ns=START, attributes=euros)
    request.span(start_ns=START, attributes=call("acme", cost="0.25"))
    either.send(request)

    report = cost_report()

    assert (report.total.cost, report.total.other_costs) == (Decimal("0.25"), {"EUR": Decimal("0.5")})
    assert report.total.unknown == 0
    assert "0.5 EUR" in "\n".join(report.lines())


def test_a_request_counts_once_where_its_tokens_are(either, export):
    request = export()
    framework = {
        "langfuse.observation.usage_details": json.dumps({"input": 0, "output": 0}),
        semconv.USAGE_COUNTED: "below",
    }
    outer = request.span(start_ns=START, attributes=call("acme", cost="0") | framework)
    request.span(parent=outer, start_ns=START, attributes=call("acme", cost="0.5"))
    workflow = call("acme", cost="0.125") | {
        "langfuse.observation.type": "chain",
        semconv.USAGE_COUNTED: "partly below",
    }
    request.span("pay", start_ns=START, attributes=workflow)
    either.send(request)

    total = cost_report().total

    assert (total.calls, total.input_tokens, total.cost) == (1, 20, Decimal("0.625"))


def test_a_span_that_was_sent_again_counts_once(either, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme"))
    either.send(request)
    either.send(request)

    assert (cost_report().total.calls, cost_report().total.cost) == (1, Decimal("0.25"))


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """The Langfuse of this process's settings: a server with its API, whose answers a test can change."""
    (tmp_path / "faulty").mkdir()
    with running(tmp_path / "faulty") as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_span_that_langfuse_lists_twice_until_it_merges_its_tables_counts_once(faulty, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme"))
    faulty.post(request.bytes())
    faulty.alter = lambda observations: observations * 2

    assert (cost_report().total.calls, cost_report().total.cost) == (1, Decimal("0.25"))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_limits_requests_or_fails_for_a_moment_is_asked_again(faulty, export, status):
    request = export()
    request.span(start_ns=START, attributes=call("acme"))
    faulty.post(request.bytes())
    answers = [(status, {"message": "later"})]
    faulty.reading = lambda: answers.pop() if answers else None

    assert cost_report().total.calls == 1


def test_a_server_that_asks_for_a_longer_wait_than_there_is_time_is_asked_once(faulty):
    faulty.reading = lambda: (429, {"message": "later"})
    faulty.retry_after = "3600"

    report = cost_report()

    assert report.reason == f"429 from the read API of {faulty.url}"
    assert len(faulty.asked) == 1


def test_langfuse_says_0_where_it_has_no_cost_and_the_cost_is_unknown(faulty, export):
    request = export()
    attributes = call("acme")
    del attributes[semconv.OBSERVATION_COST], attributes[semconv.COST_SOURCE]
    request.span(start_ns=START, attributes=attributes)
    faulty.post(request.bytes())
    faulty.alter = lambda observations: [{**each, "totalCost": 0} for each in observations]

    total = cost_report().total

    assert (total.calls, total.cost, total.unknown) == (1, None, 1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, {"message": "SECRET"}), "503 from the read API of"),
        ((404, {"message": "SECRET"}), "has no API to read observations of Langfuse 4 (404)"),
        ((400, {"message": "SECRET"}), "400 from the read API of"),
        ((200, "<html>SECRET</html>"), "is not a JSON object"),
        ((200, {"data": [{"id": "SECRET"}], "meta": {}}), "is not as Langfuse's (KeyError)"),
        ((200, {}), "is not as Langfuse's (KeyError)"),
        ((-1, {}), "raise --timeout"),
    ],
)
def test_a_server_that_keeps_failing_is_unavailable(faulty, answer, reason):
    faulty.reading = lambda: answer
    asks_again = answer[0] in (-1, 503)

    report = cost_report(timeout=5 if asks_again else HANG)

    assert (report.source, report.total, report.exit_code) == ("unavailable", None, 1)
    assert reason in report.reason
    assert "SECRET" not in report.as_json()


def test_a_server_that_fails_and_then_hangs_is_reported_as_failing(faulty):
    answers = iter([(503, {})])
    faulty.reading = lambda: next(answers, (-1, {}))

    assert "503 from the read API of" in cost_report(timeout=5).reason


def test_a_cost_that_is_none_is_unknown_and_the_others_are_reported(either, export):
    request = export()
    request.span(start_ns=START, attributes=call("acme", cost="0.25"))
    euros = {semconv.COST_SOURCE: "provider", semconv.COST_CURRENCY: "EUR"}
    request.span(start_ns=START, attributes={**call("acme", cost=None), **euros})
    either.send(request)

    row = cost_report().row("acme")

    assert (row.calls, row.cost, row.unknown) == (2, Decimal("0.25"), 1)


def test_the_last_moment_of_the_calendar_has_a_date_in_every_zone(tmp_path):
    report = cost_report(until="9999-12-31T23:59", zone="Asia/Tokyo", config=Config(data_dir=str(tmp_path)))

    assert "9999-12-30" in report.origin


def test_the_period_includes_its_beginning_and_not_its_end(either, export):
    begin = dt.datetime.fromtimestamp(START / 1e9, dt.UTC)
    request = export()
    for seconds in (-1, 0, 1, 2):
        request.span(start_ns=START + seconds * SECOND, attributes=call("acme"))
    either.send(request)

    report = cost_report(since=begin, until=(begin + dt.timedelta(seconds=2)).isoformat())

    assert (report.total.calls, report.since) == (2, begin)
    assert cost_report(since="90m").total.calls == 4
    assert cost_report(since="1m").total.calls == 0


def test_more_than_a_page_is_read_and_a_bound_leaves_out_what_is_not_complete(either, export):
    request = export()
    for number in range(1500):
        request.span(start_ns=START + number * SECOND // 100, attributes=call("acme", cost="0.5"))
    either.send(request)

    whole, part = cost_report(), cost_report(max_spans=1200)

    assert (whole.total.calls, whole.total.cost, whole.exit_code) == (1500, Decimal(750), 0)
    assert (part.total.calls, part.cut, part.exit_code) == (1200, True, 3)
    assert part.since > whole.since
    assert "raise --max-spans" in "\n".join(part.lines())


def test_the_calls_of_a_real_service_have_their_published_prices(langfuse):
    service = """
import somatrace
from somatrace import bind, span, usage
somatrace.init_tracing("billing")
for tenant, model in (("acme", "gpt-4o-mini"), ("acme", "gpt-4o-mini"), ("globex", "no-such-model")):
    with bind(tenant_id=tenant, workflow_name="pay", agent_id="a1"), span("pay", kind="workflow"):
        with span("ask", kind="llm") as call:
            call.set_attribute("gen_ai.provider.name", "openai")
            usage(model=model, input_tokens=1000, output_tokens=100)
assert somatrace.flush(60)
"""
    subprocess.run([sys.executable, "-c", service], check=True, timeout=HANG)

    report = cost_report(by=("tenant", "service", "provider", "model"))

    # 0.15 and 0.60 dollars by the million
    acme = report.row("acme", "billing", "openai", "gpt-4o-mini")
    assert (acme.calls, acme.input_tokens, acme.output_tokens) == (2, 2000, 200)
    assert (acme.cost, acme.unknown) == (Decimal("0.00042"), 0)
    assert report.unpriced == {"no-such-model": 1}


def test_the_recipe_of_the_page_answers_for_a_tenant_and_an_agent(either, export):
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(program, names)
    tracker = names["CostTracker"]()
    request = export()
    request.span(start_ns=START, attributes=call("acme", agent="a1"))
    request.span(start_ns=START, attributes=call("acme", agent="a2", cost=None))
    either.send(request)

    known = {"source": cost_report().source, "cost": Decimal("0.25")}
    assert tracker.get_tenant_cost("acme") == {**known, "unknown": 1}
    assert tracker.get_agent_cost("a1") == {**known, "unknown": 0}
    assert tracker.get_agent_cost("another") == {**known, "cost": 0, "unknown": 0}


# -- nothing can be read ---------------------------------------------------------------------------------


@pytest.fixture
def _no_store(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("env", "source", "reason"),
    [
        ({}, "auto", "no span is stored on this machine"),
        ({}, "local", "no span is stored on this machine"),
        ({}, "langfuse", "no Langfuse server is configured"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "auto", "cannot be read back from"),
        ({"LANGFUSE_PUBLIC_KEY": "pk-lf-1"}, "langfuse", "LANGFUSE_SECRET_KEY"),
    ],
)
@pytest.mark.usefixtures("_no_store")
def test_without_a_backend_the_report_is_unavailable(env, source, reason, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    report = cost_report(source=source)

    assert (report.source, report.total, report.rows, report.exit_code) == ("unavailable", None, (), 1)
    assert reason in report.reason
    assert list(report.lines()) == [f"costs: unavailable: {report.reason}"]


def test_a_server_that_is_away_is_unavailable(langfuse, monkeypatch):
    with refusing_port() as port:
        monkeypatch.setenv("LANGFUSE_BASE_URL", f"http://127.0.0.1:{port}")

        report = cost_report()

    assert report.source == "unavailable"
    assert report.reason.startswith("no connection to 127.0.0.1:")


def test_keys_that_may_not_read_are_unavailable_and_not_shown(langfuse, monkeypatch):
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-another")

    report = cost_report()

    assert report.reason == f"the keys may not read from {langfuse.url} (401)"
    assert "sk-lf" not in report.as_json()


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"by": "ten\x1bants"}, "by: use one or more of tenant, workflow"),
        ({"by": ""}, "by: "),
        ({"by": "tenant,"}, "by: "),
        ({"by": "b\u202erand"}, "by: "),
        ({"by": "x" * 129}, "by: "),
        ({"by": "cost_usd"}, "by: "),
        ({"by": ("day", "day")}, "by: "),
        ({"since": "yesterday"}, "since: use a span of time"),
        ({"until": "7 days"}, "until: use a span of time"),
        ({"since": "1d", "until": "2d"}, "since: use a time before that of until"),
        ({"since": "2100-01-01"}, "since: use a time before"),
        ({"source": "cloud"}, "source: use one of auto, langfuse, local"),
        ({"max_spans": 0}, "max_spans: "),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(parameters, named):
    with pytest.raises(CostQueryError, match=f"^{named}"):
        cost_report(**parameters)
