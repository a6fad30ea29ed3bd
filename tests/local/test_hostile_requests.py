"""Any request gets an answer of its own: one that cannot be understood is refused, never a server error."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.local.langfuse_api import filters, metrics
from tests.support.local_server import Export, Running

#: Times at and beyond the ends of the calendar and of 64-bit nanoseconds.
TIMES = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-01", "1677-09-21T00:12:43Z", "1970-01-01",
    "2262-04-11T23:47:16.854775Z", "2262-04-11T23:47:17Z", "9999-12-31T23:59:59.999999-14:00",
    "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z", "2026-W01-1", "24:00", "\ud800", "", "2026-01-01T00:00:00+00:00:00.000001",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"),
    True, None,
)  # fmt: skip

text = st.text(st.characters(codec=None) | st.sampled_from("\ud800\udfff\0%&=+/\\'\"\u202e"), max_size=40)
values = st.recursive(
    text | st.sampled_from(NUMBERS) | st.sampled_from(TIMES) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def one_of(*names: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(names) | text


conditions = st.fixed_dictionaries(
    {},
    optional={
        "type": one_of(*filters._BUILDERS),
        "column": one_of(
            *filters.TEXT, *filters.NUMBERS, *filters._TIMES, "tags", "metadata", "isRootObservation"
        ),
        "operator": one_of(
            "=", "<>", ">", "<=", "contains", "starts with", "ends with", "does not contain", "any of",
            "none of", "all of", "is null", "is not null", "is set",
        ),
        "key": one_of("tenant_id", "resourceAttributes.service.name", "scope.name"),
        "value": values | st.sampled_from(TIMES) | st.lists(text, max_size=3),
    },
)  # fmt: skip
many = st.lists(conditions | values, max_size=3) | values


def fields(name: str, known: Any, other: str, more: Any) -> st.SearchStrategy[Any]:
    return st.lists(
        st.fixed_dictionaries({}, optional={name: one_of(*known), other: one_of(*more)}) | values, max_size=2
    )


queries = st.fixed_dictionaries(
    {},
    optional={
        "view": one_of("observations"),
        "dimensions": fields("field", metrics.DIMENSIONS, "x", ("y",)),
        "metrics": fields(
            "measure", metrics.MEASURES, "aggregation", (*metrics._PERCENTILES, *metrics._SIMPLE)
        ),
        "timeDimension": st.fixed_dictionaries({"granularity": one_of("auto", *metrics._BUCKETS)}) | values,
        "fromTimestamp": st.sampled_from(TIMES) | values,
        "toTimestamp": st.sampled_from(TIMES) | values,
        "filters": many,
        "orderBy": fields("field", ("count_count", "name"), "direction", ("asc", "desc")),
        "config": st.dictionaries(one_of("row_limit"), values, max_size=1) | values,
    },
)  # fmt: skip


#: Queries that are understood but for one part, so that the rest of it is reached.
nearly_valid = st.builds(
    lambda whole, part: {**whole, **part},
    st.fixed_dictionaries({
        "view": st.just("observations"),
        "fromTimestamp": st.sampled_from(TIMES),
        "toTimestamp": st.sampled_from(TIMES[-7:]),
        "dimensions": st.lists(
            st.fixed_dictionaries({"field": st.sampled_from([*metrics.DIMENSIONS])}), max_size=3
        ),
        "metrics": st.lists(
            st.fixed_dictionaries({
                "measure": st.sampled_from([*metrics.MEASURES]),
                "aggregation": st.sampled_from([*metrics._PERCENTILES, *metrics._SIMPLE]),
            }),
            min_size=1,
            max_size=3,
        ),
    }),
    queries.map(lambda query: dict([*query.items()][-1:])),
)  # fmt: skip


def encoded(value: Any, *, ascii_only: bool) -> str:
    """JSON, with lone surrogates as escapes or as the bytes that some clients send."""
    return json.dumps(value, ensure_ascii=ascii_only)


def cursor_of(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


cursors = st.builds(
    cursor_of,
    values
    | st.fixed_dictionaries({"startNs": st.sampled_from(NUMBERS), "lastTraceId": text, "lastId": text})
    | st.fixed_dictionaries({"startNs": values, "lastTraceId": values, "lastId": values}),
)
jsons = st.builds(
    lambda value, plain: encoded(value, ascii_only=plain), many | queries | nearly_valid, st.booleans()
)
parameters = st.fixed_dictionaries(
    {},
    optional={
        "filter": jsons | text,
        "query": jsons | text,
        "cursor": cursors | text,
        "fields": one_of("core,io", "metadata", "metrics,time"),
        "limit": one_of("0", "1", "1000", "1001", "-1", "٣", "1e3", "9" * 5000),
        "parseIoAsJson": one_of("true"),
        "expandMetadata": text,
        "environment": text,
        "isRootObservation": one_of("true", "false"),
        "parentObservationId": text,
        "traceId": text,
        "name": text,
        "userId": text,
        "fromStartTime": st.sampled_from(TIMES) | text,
        "toStartTime": st.sampled_from(TIMES) | text,
        "failIfDatabaseUnavailable": one_of("true"),
    },
)
positions = st.sampled_from(
    (
        "0_0",
        "9223372036854775807_a",
        "9223372036854775808_a",
        "1e-400_0",
        "1.5_ffff",
        "9.9e-999_0",
        "1e5_0",
        "_",
        "٣_0",
    )
)
digits = st.sampled_from(
    (
        "0",
        "1",
        "٣",
        "-1",
        "1e9",
        "9" * 13,
        "9" * 14,
        "9" * 19,
        "9223372036854775807",
        "9" * 5000,
        " 5 ",
        "253402300800000",
    )
)
page_parameters = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("tenant", "workflow", "agent", "model", "service", "q", "correlation", "find"), text
        ),
        **dict.fromkeys(("min", "max", "tokens", "from", "to", "since", "at", "spans"), digits | text),
        **dict.fromkeys(("no_tenant", "no_workflow"), one_of("1")),
        "status": one_of("failed", "ok", "open"),
        "sort": one_of("start", "duration", "tokens", "cost"),
        "range": one_of("1h", "24h", "7d", "all"),
        "before": positions | text,
        "shown": text,
        "span": one_of("0" * 16),
        "under": one_of("0" * 16),
        "show": one_of("errors", "critical", "all"),
        "part": one_of("0-5", "5-0", "99999999-99999999"),
        "zoom": one_of("0-1", "0.5-0.5", "1-0", "nan-nan", "0-1e400", "-1-2", "1e-400-1"),
        "key": one_of("input", "output", "attributes.x"),
        "unknown": text,
    },
)
segments = st.text(st.characters(codec=None), min_size=1, max_size=40) | st.sampled_from(
    ("..", ".", "%2e%2e", "\0", "\ud800", "f" * 32, "F" * 32, "0" * 16)
)


def address(path: str, params: dict[str, str]) -> str:
    """An address with the parameters as raw bytes; lone surrogates as three bytes each."""
    pairs = (
        f"{quote(name)}={quote_from_bytes(value.encode('utf-8', 'surrogatepass'))}"
        for name, value in params.items()
    )
    return path + "?" + "&".join(pairs)


def segment(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


@pytest.fixture(scope="module")
def filled(shared_server: Running) -> tuple[Running, str]:
    """A server with one trace, and the id of that."""
    export = Export()
    hostile = {"a": '"\\ud800"', "b": "1e999", "c": "-1e999", "d": "NaN", "e": "9" * 5000, "f": "[" * 5000}
    hostile |= {"g": '{"\\udfff": [1e400, Infinity]}', "h": float("inf"), "i": "x\0y", "j": '"' + "\\" * 301}
    metadata = {f"langfuse.trace.metadata.{key}": value for key, value in hostile.items()}
    numbers = {
        "gen_ai.usage.input_tokens": float("nan"),
        "gen_ai.usage.cost.amount": float("inf"),
        "langfuse.observation.usage_details": '{"input": 1e999, "\\ud800": 1}',
        "langfuse.observation.cost_details": '{"total": NaN}',
        "langfuse.observation.model.parameters": '{"x": 1e999, "y": "\\ud800"}',
        "langfuse.observation.input": '"\\ud800"',
        "langfuse.trace.tags": ["\0", ""],
    }
    root = export.span(
        "checkout", attributes={"langfuse.trace.metadata.tenant_id": "acme", **metadata, **numbers}
    )
    export.span("early", parent=root, start_ns=0, attributes=hostile)
    export.span("late", parent=root, start_ns=2**63 - 1, seconds=10, attributes=hostile)
    export.span("ask", parent=root, failed="away", attributes={"gen_ai.request.model": "small-1"})
    shared_server.send(export)
    return shared_server, root.trace_id.hex()


@pytest.fixture(scope="module")
def browser(filled: tuple[Running, str]) -> Iterator[httpx.Client]:
    with filled[0].browser() as client:
        yield client


attack: Callable[[Any], Any] = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def is_one_line(reason: str) -> bool:
    return 0 < len(reason) < 500 and "\n" not in reason


@attack
@given(params=parameters)
@pytest.mark.slow
def test_no_query_of_observations_is_a_server_error(
    filled: tuple[Running, str], params: dict[str, str]
) -> None:
    answer = filled[0].client.get(
        filled[0].url + address("/api/public/v2/observations", params),
        headers={"Authorization": filled[0].keys.basic()},
    )
    assert answer.status_code in (200, 400), (answer.status_code, answer.text, params)
    if answer.status_code == 400:
        assert is_one_line(answer.json()["error"][0]["message"])


@attack
@given(query=jsons | nearly_valid.map(json.dumps))
@pytest.mark.slow
def test_no_query_of_metrics_is_a_server_error(filled: tuple[Running, str], query: str) -> None:
    answer = filled[0].client.get(
        filled[0].url + address("/api/public/v2/metrics", {"query": query}),
        headers={"Authorization": filled[0].keys.basic()},
    )
    assert answer.status_code in (200, 400), (answer.status_code, answer.text, query)
    if answer.status_code == 400:
        assert is_one_line(answer.json()["error"][0]["message"])


PAGES = ("/", "/traces", "/traces/new", "/services", "/status", "/find", "/open")
OF_A_TRACE = ("", "/rows", "/new", "/file")


@attack
@given(
    path=st.sampled_from(PAGES), params=page_parameters, part=st.sampled_from(("", "#results", "#overview"))
)
@pytest.mark.slow
def test_no_query_of_a_page_is_a_server_error(
    browser: httpx.Client, path: str, params: dict[str, str], part: str
) -> None:
    headers = {"hx-request": "true", "hx-target": part} if part else {}
    answer = browser.get(address(path, params), headers=headers)
    assert answer.status_code in (200, 303, 400, 404), (answer.status_code, path, params)


addresses = st.tuples(
    segments.map(segment) | st.none(),
    st.sampled_from(OF_A_TRACE) | segments.map(lambda text: f"/span/{segment(text)}"),
    st.sampled_from(("", "/text", "/more")),
)


@attack
@given(parts=addresses, params=page_parameters)
@pytest.mark.slow
def test_no_address_of_a_trace_is_a_server_error(
    filled: tuple[Running, str],
    browser: httpx.Client,
    parts: tuple[str | None, str, str],
    params: dict[str, str],
) -> None:
    trace, below, last = parts
    answer = browser.get(address(f"/trace/{trace or filled[1]}{below}{last}", params))
    assert answer.status_code in (200, 303, 307, 400, 404), (answer.status_code, parts, params)
