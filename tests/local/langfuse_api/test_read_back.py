"""Reading back with the real `langfuse` package, over a real socket."""

from __future__ import annotations

import base64
import datetime as dt
import json

import pytest
from langfuse.api import LangfuseAPI
from langfuse.api.commons.errors.error import Error
from langfuse.api.commons.errors.not_found_error import NotFoundError
from langfuse.api.commons.errors.unauthorized_error import UnauthorizedError

from somatrace.local.store.store import Store

EVERYTHING = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
SECOND = 1_000_000_000
DAY = 86400 * SECOND
MONDAY = 1_735_516_800 * SECOND  # 2024-12-30, a Monday, 00:00 UTC


def tags(tenant: str, **more) -> dict:
    return {
        "tenant_id": tenant,
        "langfuse.trace.metadata.tenant_id": tenant,
        "langfuse.trace.tags": [f"tenant:{tenant}", "workflow:pay"],
        **more,
    }


def model_call(tenant: str, tokens: int, **more) -> dict:
    return tags(
        tenant,
        **{
            "gen_ai.operation.name": "chat",
            "gen_ai.response.model": "small-1",
            "gen_ai.usage.input_tokens": tokens,
            "gen_ai.usage.output_tokens": 1,
            "langfuse.observation.cost_details": json.dumps({"total": tokens / 100}),
        },
        **more,
    )


@pytest.fixture
def filled(server, export):
    """Two tenants: acme with calls of 10 and 20 tokens a day apart, globex with a failed one of 40."""
    request = export(**{"deployment.environment.name": "staging", "service.version": "1.2"})
    root = request.span("pay", start_ns=MONDAY, seconds=4, attributes=tags("acme", **{"user.id": "u1"}))
    request.span("first", parent=root, start_ns=MONDAY + SECOND, seconds=1, attributes=model_call("acme", 10))
    request.span("second", parent=root, start_ns=MONDAY + DAY, seconds=3, attributes=model_call("acme", 20))
    request.span(
        "third", start_ns=MONDAY + 8 * DAY, seconds=2, failed="no", attributes=model_call("globex", 40)
    )
    server.send(request)
    server.root = root
    return server


def names(server, *conditions, **params):
    if conditions:
        params["filter"] = json.dumps(conditions)
    return [observation.name for observation in server.api.observations.get_many(**params).data]


def test_an_observation_has_every_field_langfuse_gives_it(filled):
    (found,) = filled.api.observations.get_many(name="first", fields=EVERYTHING).data
    assert found.trace_id == filled.root.trace_id.hex()
    assert found.parent_observation_id == filled.root.span_id.hex()
    assert found.start_time == dt.datetime(2024, 12, 30, 0, 0, 1, tzinfo=dt.UTC)
    assert found.end_time == dt.datetime(2024, 12, 30, 0, 0, 2, tzinfo=dt.UTC)
    assert (found.type, found.level, found.environment, found.version) == (
        "GENERATION",
        "DEFAULT",
        "staging",
        "1.2",
    )
    assert (found.model, found.providedModelName) == ("small-1", "small-1")
    assert found.usage_details == {"input": 10, "output": 1, "total": 11}
    assert (found.cost_details, found.total_cost) == ({"total": 0.1}, 0.1)
    assert found.latency == 1.0
    assert found.tags == ["tenant:acme", "workflow:pay"]
    assert found.metadata["tenant_id"] == "acme"
    assert found.metadata["attributes.gen_ai.usage.input_tokens"] == 10
    assert found.metadata["resourceAttributes.service.name"] == "checkout"
    assert found.metadata["scope.name"] == "tests"
    assert found.is_root_observation is False


def test_only_core_and_basic_fields_are_returned_by_default(filled):
    answer = filled.get("/api/public/v2/observations", name="first").json()["data"][0]
    assert {"id", "traceId", "startTime", "projectId", "name", "level", "userId"} <= answer.keys()
    assert not {"metadata", "usageDetails", "input", "latency", "tags"} & answer.keys()


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["third", "second", "first", "pay"]),
        ({"name": "first"}, ["first"]),
        ({"type": "SPAN"}, ["pay"]),
        ({"user_id": "u1"}, ["pay"]),
        ({"level": "ERROR"}, ["third"]),
        ({"environment": "staging"}, ["third", "second", "first", "pay"]),
        ({"environment": ["none", "other"]}, []),
        ({"version": "1.2", "type": "SPAN"}, ["pay"]),
        ({"is_root_observation": True}, ["third", "pay"]),
        ({"parent_observation_id": ""}, ["third", "pay"]),
        ({"from_start_time": dt.datetime(2024, 12, 31, tzinfo=dt.UTC)}, ["third", "second"]),
        ({"to_start_time": dt.datetime(2024, 12, 31, tzinfo=dt.UTC)}, ["first", "pay"]),
        ({"trace_id": "no such"}, []),
        ({"limit": 1}, ["third"]),
    ],
)
def test_parameters_select_observations(filled, params, expected):
    assert names(filled, **params) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "tenant_id",
                "operator": "=",
                "value": "globex",
            },
            ["third"],
        ),
        (
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "tenant_id",
                "operator": "=",
                "value": "nobody",
            },
            [],
        ),
        (
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "tenant_id",
                "operator": "starts with",
                "value": "ac",
            },
            ["second", "first", "pay"],
        ),
        (
            {"type": "stringObject", "column": "metadata", "key": "attributes.user.id", "operator": "is set"},
            ["pay"],
        ),
        (
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "resourceAttributes.service.name",
                "operator": "=",
                "value": "other",
            },
            [],
        ),
        (
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "resourceAttributes.service.name",
                "operator": "contains",
                "value": "check",
            },
            ["third", "second", "first", "pay"],
        ),
        (
            {
                "type": "numberObject",
                "column": "metadata",
                "key": "attributes.gen_ai.usage.input_tokens",
                "operator": ">=",
                "value": 20,
            },
            ["third", "second"],
        ),
        (
            {"type": "arrayOptions", "column": "tags", "operator": "any of", "value": ["tenant:globex", "x"]},
            ["third"],
        ),
        (
            {"type": "arrayOptions", "column": "tags", "operator": "all of", "value": ["tenant:globex", "x"]},
            [],
        ),
        (
            {
                "type": "arrayOptions",
                "column": "traceTags",
                "operator": "none of",
                "value": ["tenant:globex"],
            },
            ["second", "first", "pay"],
        ),
        ({"type": "string", "column": "name", "operator": "contains", "value": "ir"}, ["third", "first"]),
        ({"type": "string", "column": "name", "operator": "ends with", "value": "ond"}, ["second"]),
        (
            {"type": "string", "column": "name", "operator": "does not contain", "value": "i"},
            ["second", "pay"],
        ),
        (
            {"type": "stringOptions", "column": "type", "operator": "none of", "value": ["GENERATION"]},
            ["pay"],
        ),
        ({"type": "number", "column": "latency", "operator": ">", "value": 2.5}, ["second", "pay"]),
        ({"type": "number", "column": "totalTokens", "operator": "=", "value": 11}, ["first"]),
        (
            {"type": "datetime", "column": "startTime", "operator": "<", "value": "2024-12-30T00:00:01Z"},
            ["pay"],
        ),
        (
            {"type": "boolean", "column": "isRootObservation", "operator": "<>", "value": True},
            ["second", "first"],
        ),
        ({"type": "null", "column": "model", "operator": "is null"}, ["pay"]),
    ],
)
def test_conditions_select_observations(filled, condition, expected):
    assert names(filled, condition) == expected


def test_conditions_are_combined_and_replace_parameters(filled):
    generation = {"type": "string", "column": "type", "operator": "=", "value": "GENERATION"}
    acme = {"type": "arrayOptions", "column": "tags", "operator": "any of", "value": ["tenant:acme"]}
    assert names(filled, generation, acme, name="third") == ["second", "first"]


def test_a_cursor_visits_everything_once_even_with_equal_times(server, export):
    request = export()
    for number in range(25):
        request.span(f"span {number}", start_ns=MONDAY)
    server.send(request)
    found, cursor = [], None
    while True:
        page = server.api.observations.get_many(limit=10, cursor=cursor)
        found += [observation.name for observation in page.data]
        cursor = page.meta.cursor
        if cursor is None:
            break
    assert sorted(found) == sorted(f"span {number}" for number in range(25))


def test_long_metadata_is_cut_unless_expanded(server, export):
    request = export()
    long = {"langfuse.trace.metadata.a": "x" * 300, "langfuse.trace.metadata.b": "y" * 300}
    request.span(
        attributes={**long, "langfuse.trace.metadata.n": "9.9", "langfuse.trace.metadata.z": "000123"}
    )
    server.send(request)
    (found,) = server.api.observations.get_many(fields="metadata", expand_metadata="a,c").data
    assert (len(found.metadata["a"]), len(found.metadata["b"])) == (300, 200)
    assert (found.metadata["n"], found.metadata["z"]) == (9.9, "000123")


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 1001},
        {"limit": -1},
        {"limit": "ten"},
        {"cursor": "!!"},
        {"cursor": "bnVsbA=="},
        {"parseIoAsJson": "true"},
        {"isRootObservation": "maybe"},
        {"fromStartTime": "yesterday"},
        {"filter": "{"},
        {"filter": "{}"},
        {"filter": "[1]"},
        {"filter": '[{"type": "string", "column": "no such", "operator": "=", "value": "x"}]'},
        {"filter": '[{"type": "string", "column": "name", "operator": "; DROP TABLE spans", "value": "x"}]'},
        {"filter": '[{"type": "string", "column": "name", "operator": "=", "value": 7}]'},
        {"filter": '[{"type": "number", "column": "latency", "operator": "=", "value": "7"}]'},
        {"filter": '[{"type": "number", "column": "latency", "operator": "=", "value": 1e999}]'},
        {"filter": '[{"type": "stringObject", "column": "metadata", "operator": "=", "value": "x"}]'},
        {"filter": '[{"type": "arrayOptions", "column": "tags", "operator": "any of", "value": "x"}]'},
        {"filter": '[{"type": ["string"], "column": "name", "operator": "=", "value": "x"}]'},
        {"filter": "[" * 5000},
    ],
)
def test_an_invalid_query_is_400_with_a_reason(shared_server, params):
    answer = shared_server.get("/api/public/v2/observations", **params)
    assert answer.status_code == 400
    assert answer.json()["error"][0]["message"]


def test_the_client_library_raises_for_a_bad_query(shared_server):
    with pytest.raises(Error):
        shared_server.api.observations.get_many(limit=5000)


def test_metrics_count_sum_and_rank_by_dimension(filled):
    found = filled.metrics(
        dimensions=[{"field": "type"}],
        metrics=[
            {"measure": "count", "aggregation": "count"},
            {"measure": "inputTokens", "aggregation": "sum"},
            {"measure": "totalCost", "aggregation": "sum"},
            {"measure": "latency", "aggregation": "p50"},
            {"measure": "latency", "aggregation": "p95"},
            {"measure": "latency", "aggregation": "avg"},
        ],
        orderBy=[{"field": "sum_totalCost", "direction": "desc"}],
    )
    assert [row["type"] for row in found] == ["GENERATION", "SPAN"]
    generation = found[0]
    assert generation["count_count"] == 3
    assert generation["sum_inputTokens"] == 70
    assert generation["sum_totalCost"] == pytest.approx(0.7)
    assert generation["p50_latency"] == 2000
    assert generation["p95_latency"] == pytest.approx(2900)
    assert generation["avg_latency"] == 2000
    assert found[1]["sum_totalCost"] == 0


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "stringObject", "column": "metadata", "key": "tenant_id", "operator": "=", "value": "acme"},
        {"type": "arrayOptions", "column": "tags", "operator": "any of", "value": ["tenant:acme"]},
    ],
)
def test_metrics_of_one_tenant_per_day(filled, condition):
    found = filled.metrics(
        filters=[condition, {"type": "string", "column": "type", "operator": "=", "value": "GENERATION"}],
        metrics=[{"measure": "totalTokens", "aggregation": "sum"}],
        timeDimension={"granularity": "day"},
    )
    assert found == [
        {"time_dimension": "2024-12-30T00:00:00.000Z", "sum_totalTokens": 11},
        {"time_dimension": "2024-12-31T00:00:00.000Z", "sum_totalTokens": 21},
    ]


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("minute", ["2024-12-30T00:00", "2024-12-31T00:00", "2025-01-07T00:00"]),
        ("hour", ["2024-12-30T00", "2024-12-31T00", "2025-01-07T00"]),
        ("week", ["2024-12-30", "2025-01-06"]),
        ("month", ["2024-12-01", "2025-01-01"]),
        ("auto", ["2024-12-01", "2025-01-01"]),
    ],
)
def test_time_buckets(filled, granularity, expected):
    found = filled.metrics(
        metrics=[{"measure": "count", "aggregation": "count"}], timeDimension={"granularity": granularity}
    )
    assert [row["time_dimension"].startswith(start) for row, start in zip(found, expected, strict=True)]
    assert sum(row["count_count"] for row in found) == 4


def test_tags_group_as_a_whole_and_booleans_are_booleans(filled):
    found = filled.metrics(
        dimensions=[{"field": "tags"}, {"field": "isRootObservation"}],
        metrics=[{"measure": "count", "aggregation": "count"}],
        config={"row_limit": 1},
    )
    assert found == [{"tags": ["tenant:acme", "workflow:pay"], "isRootObservation": False, "count_count": 2}]


def test_metrics_over_an_empty_range_are_one_empty_row(server):
    assert server.metrics(metrics=[{"measure": "count", "aggregation": "count"}]) == [{"count_count": 0}]
    assert server.metrics(metrics=[{"measure": "latency", "aggregation": "p99"}]) == [{"p99_latency": None}]


@pytest.mark.parametrize(
    "change",
    [
        {"view": "traces"},
        {"metrics": []},
        {"metrics": [{"measure": "secrets", "aggregation": "sum"}]},
        {"metrics": [{"measure": "latency", "aggregation": "sum); DROP TABLE spans; --"}]},
        {"metrics": [{"measure": "count", "aggregation": "sum"}]},
        {"metrics": "count"},
        {"dimensions": [{"field": "metadata"}]},
        {"dimensions": [{"field": "traceId"}]},
        {"dimensions": [{}]},
        {"fromTimestamp": "2200-01-01T00:00:00Z"},
        {"toTimestamp": None},
        {"timeDimension": {"granularity": "century"}},
        {"orderBy": [{"field": "name", "direction": "asc"}]},
        {"orderBy": [{"field": "count_count", "direction": "sideways"}]},
        {"config": {"row_limit": 1001}},
        {"config": {"row_limit": True}},
    ],
)
def test_an_invalid_metrics_query_is_400(shared_server, change):
    query = {
        "view": "observations",
        "metrics": [{"measure": "count", "aggregation": "count"}],
        "fromTimestamp": "2020-01-01T00:00:00Z",
        "toTimestamp": "2100-01-01T00:00:00Z",
        **change,
    }
    answer = shared_server.get("/api/public/v2/metrics", query=json.dumps(query))
    assert answer.status_code == 400
    assert answer.json()["error"][0]["message"]


def test_deleting_a_stored_span_changes_the_read_back(filled):
    store = Store(filled.data_dir)
    assert store.delete(filled.root.trace_id.hex(), filled.root.span_id.hex()) == 1
    store.close()
    assert names(filled) == ["third", "second", "first"]


def test_health_ready_and_project(shared_server):
    health = shared_server.api.health.health()
    assert (health.status, health.version.split("-")[0]) == ("OK", "somatrace")
    assert shared_server.client.get(f"{shared_server.url}/api/public/ready").json()["status"] == "OK"
    checked = shared_server.get("/api/public/health", failIfDatabaseUnavailable="true")
    assert checked.status_code == 200
    (project,) = shared_server.api.projects.get().data
    assert (project.id, project.name) == ("local", "local")


@pytest.mark.parametrize("path", ["v2/observations", "v2/metrics", "projects"])
def test_reading_back_needs_the_key_pair(shared_server, path):
    assert shared_server.client.get(f"{shared_server.url}/api/public/{path}").status_code == 401


def test_the_client_library_raises_for_wrong_keys(shared_server):
    wrong = LangfuseAPI(
        base_url=shared_server.url, username="pk-lf-x", password="sk-lf-x", httpx_client=shared_server.client
    )
    with pytest.raises(UnauthorizedError):
        wrong.observations.get_many()


@pytest.mark.parametrize(
    "path",
    ["traces", "traces/abc", "observations", "observations/abc", "metrics", "metrics/daily", "v2/scores"],
)
def test_calls_removed_in_langfuse_4_are_404_with_its_message(shared_server, path):
    answer = shared_server.get(f"/api/public/{path}")
    assert answer.status_code == 404
    assert "not available on deployments running in Langfuse v4 events_only mode" in answer.json()["message"]


def test_the_client_library_sees_an_unknown_call_as_not_found(shared_server):
    with pytest.raises(NotFoundError):
        shared_server.api.datasets.list()


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_a_time_at_an_end_of_the_calendar_is_before_or_after_everything(server, export, year):
    request = export()
    request.span("work")
    server.send(request)
    expected = 1 if year.startswith("0") else 0
    condition = {"type": "datetime", "column": "startTime", "operator": ">", "value": year}
    for params in ({"fromStartTime": year}, {"filter": json.dumps([condition])}):
        answer = server.get("/api/public/v2/observations", **params)
        assert (answer.status_code, len(answer.json()["data"])) == (200, expected)
    everything = {"fromTimestamp": "0001-01-01T00:00:00Z", "toTimestamp": "9999-12-31T23:59:59Z"}
    counted = server.metrics(metrics=[{"measure": "count", "aggregation": "count"}], **everything)
    assert counted[0]["count_count"] == 1


@pytest.mark.parametrize(
    "params",
    [
        {"filter": '[{"type": "string", "column": "name", "operator": "=", "value": "\\ud800"}]'},
        {"filter": '[{"type": "null", "column": ["\\udfff"], "operator": "is null"}]'},
        {"cursor": base64.b64encode(b'{"startNs": 1, "lastTraceId": "\\ud800", "lastId": "a"}').decode()},
        {"filter": '[{"type": "string", "column": "\\ud800", "operator": "=", "value": "x"}]'},
    ],
)
def test_a_lone_surrogate_in_a_query_is_400_with_a_reason(shared_server, params):
    answer = shared_server.get("/api/public/v2/observations", **params)
    assert answer.status_code == 400
    assert answer.json()["error"][0]["message"] in ("filter is not valid JSON", "Invalid cursor format")
