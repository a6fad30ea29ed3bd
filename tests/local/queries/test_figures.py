"""Sums, histograms, arrivals and links that pages read, and export and import of trace files."""

from __future__ import annotations

import json
import math
import os
import sqlite3

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.local.otlp import export, observation
from somatrace.local.otlp.decode import DecodedSpan, Limits, SpanOrigin, from_json
from somatrace.local.queries import overview, services, traces
from somatrace.local.queries.overview import Overview, OverviewScope
from somatrace.local.store import histogram
from somatrace.local.store.database import FILE
from somatrace.local.store.store import Store
from somatrace.local.web.page_query import PageQuery

HOUR = 3600 * 10**9
NOON = 500_000 * HOUR


CALL = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3}


def make(number: int, trace: int = 0, **fields) -> DecodedSpan:
    start = fields.pop("start_ns", NOON)
    given = {
        "origin": SpanOrigin({"service.name": "s"}, "scope", "", {}),
        "trace_id": f"{trace + 1:032x}",
        "span_id": f"{number + 1:016x}",
        "parent_id": None,
        "name": f"span {number}",
        "kind": 1,
        "start_ns": start,
        "end_ns": start + fields.pop("long", 5),
        "status": 0,
        "status_message": "",
        "attributes": {},
    }
    return DecodedSpan(**{**given, **fields})


def tagged(tenant: str, workflow: str = "w") -> dict[str, str]:
    return {"tenant_id": tenant, "workflow_name": workflow}


# -- histograms ------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1), st.sampled_from([50, 95, 99]))
def test_a_percentile_is_within_nine_percent_of_a_counted_duration(durations, percent):
    (found,) = histogram.percentiles(sum(map(histogram.one, durations)), percent)
    exact = sorted(durations)[max(0, math.ceil(len(durations) * percent / 100) - 1)]
    assert found / 1.19 - 1000 <= exact <= found * 1.19 + 1


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_a_histogram_survives_a_text_round_trip(durations):
    counted = sum(map(histogram.one, durations))
    assert histogram.unpacked(histogram.packed(counted)) == counted


def test_an_empty_histogram_has_no_percentiles():
    assert histogram.percentiles(0, 50, 99) == [None, None]


# -- sums ------------------------------------------------------------------------------------------

spans = st.builds(
    make,
    st.integers(0, 6),
    trace=st.integers(0, 3),
    start_ns=st.integers(NOON, NOON + 3 * HOUR),
    long=st.integers(0, HOUR),
    parent_id=st.sampled_from([None, f"{99:016x}"]),
    status=st.sampled_from([0, 2]),
    attributes=st.sampled_from(
        [
            {},
            tagged("acme"),
            tagged("acme", "v"),
            tagged("globex") | CALL,
            tagged("acme", "span 1") | {"langfuse.observation.type": "chain"},
            CALL,
        ]
    ),
)
steps = st.tuples(st.just("add"), st.lists(spans, max_size=6)) | st.tuples(
    st.just("delete"), st.integers(0, 3)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=6))
def test_the_sums_always_match_the_traces(tmp_path, history):
    store = Store(tmp_path / os.urandom(4).hex())
    store.directory.mkdir()
    for what, given_ in history:
        if what == "add":
            store.add(given_)
        else:
            store.delete(f"{given_ + 1:032x}")
    for since, until in (
        (NOON // 10**9, NOON // 10**9 + 4 * 3600),
        (NOON // 10**9, NOON // 10**9 + 7 * 3600),
    ):
        whole = overview_of(store, OverviewScope(since, until))
        assert whole.whole.sums["traces"] == value(store, "SELECT count(*) FROM traces")
        assert whole.whole.sums["failed"] == value(store, "SELECT count(*) FROM traces WHERE failed")
        assert whole.whole.sums["spans"] == value(store, "SELECT count(*) FROM spans")
        assert sum(point.sums["traces"] for point in whole.points) == whole.whole.sums["traces"]
        for tenant in ("acme", "globex", ""):
            scope = OverviewScope(since, until, tenant, unset=() if tenant else ("tenant",))
            found = overview_of(store, scope).whole.sums
            assert found["traces"] == len(listed(store, tenant=tenant, unset=scope.unset))
            for status in ("failed", "recovered"):
                chosen = {"tenant": tenant, "unset": scope.unset, "status": status}
                assert found[status] == len(listed(store, **chosen))
            of_spans = "SELECT ifnull(sum(input_tokens), 0) FROM spans WHERE ifnull(tenant_id, '') = ?"
            assert found["input_tokens"] == value(store, of_spans, tenant)
        for group in whole.groups:
            tenant, workflow = group.sums["tenant"], group.sums["workflow"]
            unset = tuple(name for name in ("tenant", "workflow") if not group.sums[name])
            chosen = {"tenant": tenant, "workflow": workflow, "unset": unset}
            assert group.sums["traces"] == len(listed(store, **chosen))
            assert group.sums["failed"] == len(listed(store, status="failed", **chosen))
    for trace in range(4):
        store.delete(f"{trace + 1:032x}")
    assert value(store, "SELECT (SELECT count(*) FROM figures) + (SELECT count(*) FROM shares)") == 0
    store.close()


def test_the_root_of_a_calling_service_has_the_name_of_the_workflow_below_it(store):
    calling = {"name": "POST /v1", "attributes": {"tenant_id": "unknown", "workflow_name": "POST /v1"}}
    chain = {**tagged("acme", "ask"), "langfuse.observation.type": "chain"}
    store.add([make(0, **calling)])
    store.add([make(1, parent_id=f"{1:016x}", name="ask", attributes=chain)])

    (row,) = store.read(lambda c: traces.search(c, traces.TraceFilter(workflow="ask"))).rows
    assert (row["name"], row["workflow_name"], row["tenant_id"]) == ("ask", "ask", "acme")
    found = overview_of(store, OverviewScope(NOON // 10**9, NOON // 10**9 + 3600))
    assert [(group.sums["tenant"], group.sums["workflow"]) for group in found.groups] == [("acme", "ask")]


def overview_of(store: Store, scope: OverviewScope) -> Overview:
    return store.read(lambda connection: overview.read(connection, scope))


def value(store: Store, sql: str, *values: object) -> object:
    return store.read(lambda connection: connection.execute(sql, values).fetchone()[0])


def listed(store: Store, **chosen) -> list[str]:
    found = store.read(lambda connection: traces.search(connection, traces.TraceFilter(**chosen)))
    return [row["trace_id"] for row in found.rows]


def test_an_overview_sums_points_groups_and_the_total(store):
    store.add([make(1, trace, long=10**9, attributes=tagged("acme")) for trace in range(20)])
    store.add([make(1, 50, start_ns=NOON + HOUR, long=4 * 10**9, status=2, attributes=tagged("globex"))])
    second = NOON // 10**9
    found = store.read(lambda c: overview.read(c, overview.OverviewScope(second, second + 24 * 3600)))
    assert found.whole.sums["traces"] == sum(point.sums["traces"] for point in found.points) == 21
    assert len(found.points) == 24
    assert [(group.sums["tenant"], group.sums["failed"]) for group in found.groups] == [
        ("globex", 1),
        ("acme", 0),
    ]
    assert found.groups[1].p95 == pytest.approx(10**9, rel=0.1)
    only = store.read(
        lambda c: overview.read(c, overview.OverviewScope(second, second + 3600, tenant="globex"))
    )
    assert only.whole.sums["traces"] == 0


def test_deleted_traces_are_removed_from_sums_and_links(tmp_path):
    store = Store(tmp_path, max_bytes=200_000)
    for trace in range(40):
        links = [{"trace_id": f"{trace:032x}", "span_id": "1" * 16}]
        store.add([make(0, trace, links=links, attributes={"x": "y" * 9000})])
    kept, links, summed = store.read(
        lambda c: [
            c.execute(sql).fetchone()[0]
            for sql in (
                "SELECT count(*) FROM traces",
                "SELECT count(*) FROM links",
                "SELECT sum(traces) FROM figures WHERE step = 60",
            )
        ]
    )
    assert 0 < kept < 40
    assert links == summed == kept
    store.close()


# -- lists -----------------------------------------------------------------------------------------


def all_pages(store: Store, **chosen) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        page = store.read(lambda c, at=before: traces.search(c, traces.TraceFilter(before=at, **chosen)))
        found += [row["trace_id"] for row in page.rows]
        if page.older is None:
            return found
        before = page.older


@pytest.mark.parametrize("sort", sorted(traces.SORTS))
def test_pages_in_any_order_contain_every_trace_once_largest_first(store, sort):
    for n in range(130):
        call = {**CALL, "gen_ai.usage.input_tokens": n % 3, "gen_ai.usage.cost": n % 4 / 1000}
        store.add([make(1, n, start_ns=NOON + n % 7, long=n % 5, attributes=call)])
    found = all_pages(store, sort=sort)
    assert len(found) == len(set(found)) == 130
    values = store.read(
        lambda c: dict(c.execute(f"SELECT trace_id, {traces.SORTS[sort]} FROM traces").fetchall())
    )
    assert [values[trace_id] for trace_id in found] == sorted(values.values(), reverse=True)


def mixed(store: Store) -> None:
    """Three traces of two tenants: globex spends most in each, and its error fails the first one."""
    for n, (acme, globex) in enumerate([(1, 90), (3, 70), (2, 80)]):
        level = {"langfuse.observation.level": "ERROR"} if n == 0 else {}
        both = {"acme": acme, "globex": globex}.items()
        store.add([make(0, n, start_ns=NOON + n, attributes={"workflow_name": "w"})])
        store.add(
            make(
                number,
                n,
                start_ns=NOON + n,
                parent_id=f"{1:016x}",
                attributes={
                    **tagged(tenant, f"of-{tenant}"),
                    "gen_ai.request.model": "m",
                    "gen_ai.usage.input_tokens": tokens,
                    "gen_ai.usage.cost": tokens / 8,
                    "langfuse.observation.type": "generation",
                    **(level if tenant == "globex" else {}),
                },
            )
            for number, (tenant, tokens) in enumerate(both, 1)
        )


def rows_of(store: Store, **chosen) -> list[dict]:
    return store.read(lambda c: traces.search(c, traces.TraceFilter(**chosen))).rows


@pytest.mark.parametrize("chosen", [{"tenant": "acme"}, {"workflow": "of-acme"}, {"tenant": "globex"}])
def test_the_rows_of_a_tenant_or_workflow_add_up_to_its_figures(store, chosen):
    mixed(store)
    rows = rows_of(store, **chosen)
    sums = overview_of(store, OverviewScope(NOON // 10**9, NOON // 10**9 + 3600, **chosen)).whole.sums
    for figure in ("calls", "input_tokens", "cost", "failed"):
        assert sum(row[figure] for row in rows) == sums[figure], figure


def test_an_error_that_the_workflow_went_on_after_is_recovered_and_no_failure(store):
    failed = {**tagged("acme"), "langfuse.observation.level": "ERROR"}
    store.add([make(0, attributes=tagged("acme")), make(1, parent_id=f"{1:016x}", attributes=failed)])
    (row,) = rows_of(store, status="recovered")
    assert (row["failed"], row["errors"]) == (0, 1)
    assert rows_of(store, status="failed") == rows_of(store, tenant="acme", status="failed") == []


def test_another_tenants_failure_in_the_same_trace_is_not_shown_in_a_tenants_row(store):
    mixed(store)
    assert [(row["failed"], row["errors"], row["failure"]) for row in rows_of(store, tenant="acme")] == [
        (0, 0, None)
    ] * 3
    assert [row["errors"] for row in rows_of(store, tenant="globex")] == [0, 0, 1]
    assert len(rows_of(store, tenant="acme", status="ok")) == 3
    assert len(rows_of(store, tenant="globex", status="ok")) == 2


def test_a_tenants_list_is_sorted_and_filtered_by_its_own_tokens(store, monkeypatch):
    monkeypatch.setattr(traces, "PAGE", 1)
    mixed(store)
    assert all_pages(store, tenant="acme", sort="tokens") == [f"{n:032x}" for n in (2, 3, 1)]
    assert all_pages(store, tenant="acme", sort="cost") == [f"{n:032x}" for n in (2, 3, 1)]
    assert all_pages(store, tenant="acme", min_tokens=2) == [f"{n:032x}" for n in (3, 2)]
    assert all_pages(store, tenant="acme", min_tokens=70) == []


def test_a_changed_row_of_a_tenant_keeps_its_own_figures(store):
    mixed(store)
    shown = [f"{n:032x}" for n in (1, 2, 3)]
    found = store.read(lambda c: traces.arrived(c, traces.TraceFilter(tenant="acme"), 0, shown, 0))
    assert sorted(row["input_tokens"] for row in found.rows) == [1, 2, 3]


def test_usage_of_an_agent_whose_requests_made_no_spans_is_summed_and_is_no_call(store):
    used = {"gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7, "gen_ai.usage.cost": 0.5}
    agent = {**tagged("acme"), **used, "langfuse.observation.type": "agent"}
    summing = {**tagged("acme"), **used, "gen_ai.operation.name": "invoke_agent"}
    rest = {**tagged("acme"), **used, "somatrace.usage_counted": "partly below"}
    kinds = [agent, summing, {**rest, "langfuse.observation.type": "chain"}]
    store.add([make(n, attributes=kind) for n, kind in enumerate(kinds)])
    (row,) = rows_of(store, tenant="acme")
    assert (row["calls"], row["input_tokens"], row["cost"]) == (0, 14, 1.0)


def test_a_search_stops_at_its_limit_reports_its_extent_and_can_continue(store, monkeypatch):
    monkeypatch.setattr(traces, "SCAN_LIMIT", 10)
    store.add([make(1, n, start_ns=NOON + n, name="rare" if n == 3 else "common") for n in range(30)])
    chosen = traces.TraceFilter(text="rare")
    first = store.read(lambda c: traces.search(c, chosen))
    assert (first.rows, first.searched_to) == ([], NOON + 20)
    assert all_pages(store, text="rare") == [f"{4:032x}"]


def test_the_neighbors_of_a_trace_match_the_filter(store):
    store.add([make(1, n, start_ns=NOON + n, attributes=tagged("ab"[n % 2])) for n in range(6)])
    row = store.read(lambda c: traces.search(c, traces.TraceFilter(tenant="a")).rows)[1]
    newer, older = store.read(lambda c: traces.neighbours(c, traces.TraceFilter(tenant="a"), row))
    assert (newer, older) == (f"{5:032x}", f"{1:032x}")


def test_a_workflow_without_a_tenant_filter_is_searched_within_the_limit(store, monkeypatch):
    monkeypatch.setattr(traces, "SCAN_LIMIT", 10)
    store.add(
        [make(1, n, start_ns=NOON + n, attributes=tagged("a", "rare" if n == 3 else "w")) for n in range(30)]
    )
    found = store.read(lambda c: traces.search(c, traces.TraceFilter(workflow="rare")))
    assert (found.rows, found.searched_to) == ([], NOON + 20)
    assert all_pages(store, workflow="rare") == all_pages(store, tenant="a", workflow="rare") == [f"{4:032x}"]


asked = st.sampled_from(
    ["tenant", "no_tenant", "q", "min", "from", "to", "range", "sort", "status", "before"]
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(asked, st.text() | st.integers().map(str)))
def test_any_address_yields_a_filter_a_time_range_and_a_link(params):
    address = PageQuery(params)
    address.filter()
    scope = address.scope(1_800_000_000.0)
    assert scope.since < scope.until
    assert (scope.until - scope.since) / scope.step <= 1100
    again = httpx.URL("http://host" + address.link("/traces"))
    assert again.path == "/traces"
    assert PageQuery(dict(again.params)).given.keys() == address.given.keys()


# -- services --------------------------------------------------------------------------------------


def test_services_list_versions_processes_instrumentation_and_problems(store):
    for version, instance in (("1", "a"), ("2", "b")):
        resource = {"service.name": "api", "service.version": version, "service.instance.id": instance}
        origin = SpanOrigin(resource, "opentelemetry.instrumentation.httpx", "0.66", {})
        store.add([make(int(version), int(version), origin=origin, status=2, dropped=3)])
    (found,) = store.read(lambda c: services.read(c, 0))
    assert sorted(found.versions) == ["1", "2"]
    assert found.instances == {"a", "b"}
    assert found.scopes == {"opentelemetry.instrumentation.httpx 0.66"}
    assert (found.spans, found.failed, found.untagged, found.cut) == (2, 2, 2, 2)


def test_a_resent_batch_is_not_counted_twice_in_arrivals(store):
    for _ in range(2):
        store.add([make(1), make(2)])
    (found,) = store.read(lambda c: services.read(c, 0))
    assert found.spans == 2


# -- files -----------------------------------------------------------------------------------------

values = (
    st.text(max_size=20)
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.lists(st.text(max_size=5), max_size=3)
)
keys = st.sampled_from(
    [
        "tenant_id", "http.status", "gen_ai.request.model", "gen_ai.usage.input_tokens",
        "gen_ai.prompt.0.content",
        "langfuse.trace.metadata.tenant_id", "langfuse.observation.metadata.a", "langfuse.observation.input",
        "langfuse.observation.type", "langfuse.trace.tags", "input.value", "gen_ai.tool.name", "user.id",
    ]
) | st.text(min_size=1, max_size=8)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, values, max_size=8), st.sampled_from([0, 1, 2]))
def test_a_trace_survives_a_file_round_trip(tmp_path, attributes, status):
    store = Store(tmp_path / os.urandom(4).hex())
    store.directory.mkdir()
    span = make(
        1,
        attributes=attributes,
        status=status,
        status_message="why" if status == 2 else "",
        events=[{"name": "said", "time_ns": NOON, "attributes": {"a": [1, True, 0.5, "x"]}}],
        links=[{"trace_id": "ab" * 16, "span_id": "cd" * 8}],
    )
    store.add([span, make(2, parent_id=span.span_id)])
    text = store.read(lambda c: "".join(export.pieces(c, span.trace_id)))
    store.close()
    again = {read.span_id: read for read in from_json(text.encode(), Limits())}

    first, second = observation.row(span), observation.row(again[span.span_id])

    assert again[f"{3:016x}"].parent_id == span.span_id
    derived = {"metadata": "", "extra": ""}
    assert second._replace(**derived) == first._replace(**derived)
    before, after = json.loads(first.extra), json.loads(second.extra)
    assert (before["events"], before["links"]) == (after["events"], after["links"])


def test_values_keep_their_types_in_a_file(store):
    given_ = {"text": "5", "number": 5, "share": 0.5, "yes": True, "several": ["a", "b"]}
    store.add([make(1, attributes=given_)])
    text = store.read(lambda c: "".join(export.pieces(c, f"{1:032x}")))
    (span,) = from_json(text.encode(), Limits())
    assert dict(span.attributes) == given_


def test_a_span_of_the_langfuse_package_keeps_model_usage_and_type_in_a_file(store):
    origin = SpanOrigin({"service.name": "s"}, "langfuse-sdk", "4", {})
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "small-1",
        "langfuse.observation.usage_details": '{"input":3,"output":4}',
        "langfuse.observation.completion_start_time": '"2026-11-21T10:00:00+00:00"',
        "langfuse.trace.name": "answer",
    }
    span = make(1, origin=origin, attributes=attributes)
    store.add([span])
    text = store.read(lambda c: "".join(export.pieces(c, span.trace_id)))
    (again,) = from_json(text.encode(), Limits())
    first, second = observation.row(span), observation.row(again)
    assert second._replace(environment=first.environment) == first


# -- versions --------------------------------------------------------------------------------------


def test_a_store_of_an_older_version_is_set_aside_for_a_new_one(tmp_path, store):
    store.add([make(1)])
    store.close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    again = Store(tmp_path)
    again.add([make(2)])
    assert again.read(lambda c: c.execute("SELECT count(*) FROM spans").fetchone()) == (1,)
    assert len(list(tmp_path.glob("local.db.old-*"))) >= 1
    again.close()
