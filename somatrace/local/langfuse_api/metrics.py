"""`GET /api/public/v2/metrics`: a subset of Langfuse's metrics queries."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from somatrace.local.langfuse_api import filters
from somatrace.local.langfuse_api.filters import QueryError, Sql

MAX_ROWS: Final = 1000
_MAX_PARTS: Final = 20
_HOUR_NS: Final = 3_600_000_000_000

DIMENSIONS: Final[Mapping[str, str]] = {
    "environment": "environment",
    "type": "type",
    "name": "name",
    "level": "level",
    "version": "version",
    "traceVersion": "version",
    "tags": "tags",
    "release": "release",
    "traceRelease": "release",
    "traceName": "trace_name",
    "providedModelName": "model",
    "promptName": "prompt_name",
    "promptVersion": "prompt_version",
    "isRootObservation": "is_root",
    "startTimeMonth": "strftime('%Y-%m', start_ns / 1000000000, 'unixepoch')",
}
_TOO_MANY_VALUES: Final = ("id", "traceId", "userId", "sessionId", "parentObservationId")
#: milliseconds, tokens, USD
MEASURES: Final[Mapping[str, str]] = {
    "count": "1",
    "latency": "((end_ns - start_ns) / 1e6)",
    "streamingLatency": "((end_ns - first_token_ns) / 1e6)",
    "timeToFirstToken": "((first_token_ns - start_ns) / 1e6)",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": "total_tokens",
    "outputTokensPerSecond": f"(output_tokens / nullif({filters.LATENCY_SECONDS}, 0))",
    "tokensPerSecond": f"(total_tokens / nullif({filters.LATENCY_SECONDS}, 0))",
    "inputCost": "input_cost",
    "outputCost": "output_cost",
    "totalCost": "total_cost",
}
_PERCENTILES: Final = {"p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99}
_SIMPLE: Final = ("sum", "avg", "count", "max", "min")
_BUCKETS: Final = {
    "minute": "strftime('%Y-%m-%dT%H:%M:00.000Z', {time}, 'unixepoch')",
    "hour": "strftime('%Y-%m-%dT%H:00:00.000Z', {time}, 'unixepoch')",
    "day": "strftime('%Y-%m-%dT00:00:00.000Z', {time}, 'unixepoch')",
    # Monday, as ClickHouse's toMonday
    "week": "strftime('%Y-%m-%dT00:00:00.000Z', {time}, 'unixepoch', 'weekday 0', '-6 days')",
    "month": "strftime('%Y-%m-01T00:00:00.000Z', {time}, 'unixepoch')",
}
_TIME_DIMENSION: Final = "time_dimension"


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """A validated query: SQL expressions by their names in the response."""

    dimensions: Mapping[str, str]
    metrics: Mapping[str, str]
    where: list[Sql]
    order: list[str]
    limit: int


class Percentile:
    """The SQLite aggregate `percentile(value, p)`: exact, interpolated between neighboring values."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._share = 0.0

    def step(self, value: float | None, percent: float) -> None:
        self._share = percent / 100
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        if not self._values:
            return None
        values = sorted(self._values)
        position = self._share * (len(values) - 1)
        below, above = values[math.floor(position)], values[math.ceil(position)]
        return below + (above - below) * (position - math.floor(position))


def parse(given: str) -> MetricsQuery:
    """Parse the `query` parameter; raises `QueryError`."""
    try:
        query = filters.json_value(given)
    except ValueError:
        query = None
    if not isinstance(query, dict):
        raise QueryError("query must be a JSON object")
    if query.get("view") != "observations":
        raise QueryError("only the view 'observations' is available in the local store")
    start, end = (filters.nanoseconds(query.get(name)) for name in ("fromTimestamp", "toTimestamp"))
    if end <= start:
        raise QueryError("toTimestamp must be after fromTimestamp")
    dimensions = dict(_dimension(item) for item in _list(query, "dimensions"))
    if query.get("timeDimension") is not None:
        dimensions = {_TIME_DIMENSION: _bucket(query["timeDimension"], end - start), **dimensions}
    metrics = dict(_metric(item) for item in _list(query, "metrics"))
    if not metrics:
        raise QueryError("at least one metric is required")
    return MetricsQuery(
        dimensions=dimensions,
        metrics=metrics,
        where=[
            ("start_ns >= ? AND start_ns < ?", [start, end]),
            *filters.conditions(_list(query, "filters")),
        ],
        order=[_order(item, {*dimensions, *metrics}) for item in _list(query, "orderBy")],
        limit=_row_limit(query.get("config")),
    )


def select(connection: sqlite3.Connection, query: MetricsQuery) -> dict[str, Any]:
    """The response body: one object per group."""
    # registered on each call, since pooled connections come and go
    connection.create_aggregate("percentile", 2, Percentile)  # type: ignore[arg-type]
    columns = [f'{sql} AS "{name}"' for name, sql in (*query.dimensions.items(), *query.metrics.items())]
    groups = ", ".join(str(number + 1) for number in range(len(query.dimensions)))
    order = query.order or (
        ["1"] if _TIME_DIMENSION in query.dimensions else [f'"{next(iter(query.metrics))}" DESC']
    )
    cursor = connection.execute(
        f"SELECT {', '.join(columns)} FROM spans WHERE {' AND '.join(f'({sql})' for sql, _ in query.where)} "
        f"{f'GROUP BY {groups}' if groups else ''} ORDER BY {', '.join(order)} LIMIT {query.limit}",
        [value for _, values in query.where for value in values],
    )
    names = [column[0] for column in cursor.description]
    return {"data": [_answer(dict(zip(names, row, strict=True))) for row in cursor]}


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    if "tags" in row:
        row["tags"] = json.loads(row["tags"])
    if "isRootObservation" in row:
        row["isRootObservation"] = bool(row["isRootObservation"])
    return row


def _list(query: Mapping[str, Any], name: str) -> list[Any]:
    found = query.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or (name != "filters" and len(found) > _MAX_PARTS):
        raise QueryError(f"{name} must be an array of at most {_MAX_PARTS} items")
    return found


def _field(item: Any, name: str) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str):
        raise QueryError(f"'{name}' is missing")
    return value


def _dimension(item: Any) -> tuple[str, str]:
    name = _field(item, "field")
    if name in _TOO_MANY_VALUES:
        raise QueryError(f"dimension '{name}' has too many values to group by: use it in filters instead")
    if name not in DIMENSIONS:
        raise QueryError(f"unknown dimension {name[:100]!r}")
    return name, DIMENSIONS[name]


def _metric(item: Any) -> tuple[str, str]:
    measure, aggregation = _field(item, "measure"), _field(item, "aggregation")
    if measure not in MEASURES:
        raise QueryError(f"unknown measure {measure[:100]!r}")
    name, sql = f"{aggregation}_{measure}", MEASURES[measure]
    if measure == "count":
        if aggregation != "count":
            raise QueryError("the measure 'count' requires the aggregation 'count'")
        return name, "count(*)"
    if aggregation in _PERCENTILES:
        return name, f"percentile({sql}, {_PERCENTILES[aggregation]})"
    if aggregation not in _SIMPLE:
        raise QueryError(f"unknown aggregation {aggregation[:100]!r}")
    return name, f"ifnull(sum({sql}), 0)" if aggregation == "sum" else f"{aggregation}({sql})"


def _bucket(given: Any, span_ns: int) -> str:
    granularity = _field(given, "granularity")
    if granularity == "auto":
        granularity = _coarseness(span_ns)
    if granularity not in _BUCKETS:
        raise QueryError(f"unknown granularity {granularity[:100]!r}")
    return _BUCKETS[granularity].format(time="start_ns / 1000000000")


def _coarseness(span_ns: int) -> str:
    """The finest granularity with at most a hundred buckets."""
    steps = (("minute", _HOUR_NS // 60), ("hour", _HOUR_NS), ("day", 24 * _HOUR_NS), ("week", 168 * _HOUR_NS))
    return next((name for name, size in steps if span_ns <= 100 * size), "month")


def _order(item: Any, known: set[str]) -> str:
    field, direction = _field(item, "field"), _field(item, "direction")
    if field not in known:
        raise QueryError(
            f"cannot order by {field[:100]!r}: it is neither a dimension nor a metric of the query"
        )
    if direction not in ("asc", "desc"):
        raise QueryError("direction must be 'asc' or 'desc'")
    return f'"{field}" {direction}'


def _row_limit(config: Any) -> int:
    limit = config.get("row_limit", 100) if isinstance(config, dict) else 100
    if type(limit) is not int or not 1 <= limit <= MAX_ROWS:
        raise QueryError(f"config.row_limit must be a number from 1 to {MAX_ROWS}")
    return limit
