"""`GET /api/public/v2/observations`: Langfuse's list of observations, served from the store."""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from somatrace.local.langfuse_api import filters
from somatrace.local.langfuse_api.filters import QueryError, Sql
from somatrace.local.otlp import foreign_json
from somatrace.local.otlp.row import SpanRow

PROJECT_ID: Final = "local"
MAX_LIMIT: Final = 1000
_METADATA_CHARACTERS: Final = 200
_GROUPS: Final = (
    "core", "basic", "time", "io", "metadata", "model", "usage", "prompt", "metrics", "trace_context",
)  # fmt: skip
#: what JSON can begin with, including `NaN` and `Infinity`, which the decoder accepts
_JSON_BEGINS: Final = frozenset(' \t\n\r{["-0123456789tfnNI')
_EQUAL: Final = ("traceId", "name", "userId", "sessionId", "type", "level", "version")
#: large columns that are read only for the field groups that need them
_HEAVY: Final = {"metadata": "metadata", "io": "input, output"}
_LIGHT: Final = ", ".join(
    column
    for column in (*SpanRow._fields, "origin", "received_ns")
    if column not in ("metadata", "input", "output")
)


@dataclass(frozen=True, slots=True)
class ObservationsQuery:
    """A validated request."""

    where: list[Sql]
    limit: int
    groups: frozenset[str]
    whole_metadata: frozenset[str]


def parse(params: Mapping[str, str], environments: list[str]) -> ObservationsQuery:
    """Parse the query parameters; raises `QueryError`."""
    where = _where(params, environments)
    if cursor := params.get("cursor"):
        where.append(("(start_ns, trace_id, span_id) < (?, ?, ?)", _after(cursor)))
    groups = frozenset(params.get("fields", "core,basic").split(",")) & frozenset(_GROUPS)
    return ObservationsQuery(
        where=where,
        limit=_limit(params.get("limit", "50")),
        groups=groups | {"core"},
        whole_metadata=frozenset(params.get("expandMetadata", "").split(",")),
    )


def select(connection: sqlite3.Connection, query: ObservationsQuery) -> dict[str, Any]:
    """The response body: newest first, with a cursor if there are more."""
    columns = ", ".join(
        [_LIGHT, *(_HEAVY[group] for group in _GROUPS if group in _HEAVY and group in query.groups)]
    )
    where = " AND ".join(f"({sql})" for sql, _ in query.where) or "1"
    cursor = connection.execute(
        f"SELECT {columns} FROM spans WHERE {where} "
        "ORDER BY start_ns DESC, trace_id DESC, span_id DESC LIMIT ?",
        [*(value for _, values in query.where for value in values), query.limit + 1],
    )
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    page = rows[: query.limit]
    origins = _origins(connection, page) if "metadata" in query.groups else {}
    more = len(rows) > len(page) and page
    return {
        "data": [_observation(row, query, origins) for row in page],
        "meta": {"cursor": _cursor(page[-1])} if more else {},
    }


def _where(params: Mapping[str, str], environments: list[str]) -> list[Sql]:
    if params.get("parseIoAsJson", "false") != "false":
        raise QueryError("parseIoAsJson=true is not supported: input and output are always strings")
    if given := params.get("filter"):
        try:
            return filters.conditions(filters.json_value(given))
        except ValueError as error:
            raise error if isinstance(error, QueryError) else QueryError("filter is not valid JSON") from None
    where: list[Sql] = [(f"{filters.TEXT[name]} = ?", [params[name]]) for name in _EQUAL if name in params]
    if "parentObservationId" in params:
        where.append(("ifnull(parent_id, '') = ?", [params["parentObservationId"]]))
    if "isRootObservation" in params:
        if params["isRootObservation"] not in ("true", "false"):
            raise QueryError("isRootObservation must be true or false")
        where.append(("is_root = ?", [params["isRootObservation"] == "true"]))
    if environments:
        where.append((f"environment IN ({', '.join('?' * len(environments))})", [*environments]))
    if "fromStartTime" in params:
        where.append(("start_ns >= ?", [filters.nanoseconds(params["fromStartTime"])]))
    if "toStartTime" in params:
        where.append(("start_ns < ?", [filters.nanoseconds(params["toStartTime"])]))
    return where


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdigit()) or len(given) > 5 or int(given) > MAX_LIMIT:
        raise QueryError(f"limit must be a number up to {MAX_LIMIT}")
    return int(given)


def _cursor(row: Mapping[str, Any]) -> str:
    position = {"startNs": row["start_ns"], "lastTraceId": row["trace_id"], "lastId": row["span_id"]}
    return base64.b64encode(json.dumps(position).encode()).decode()


def _after(cursor: str) -> list[Any]:
    try:
        position = filters.json_value(base64.b64decode(cursor, validate=True).decode())
        start, trace_id, span_id = position["startNs"], position["lastTraceId"], position["lastId"]
    except (binascii.Error, ValueError, TypeError, KeyError):
        raise QueryError("Invalid cursor format") from None
    if not (
        type(start) is int and abs(start) < 2**63 and isinstance(trace_id, str) and isinstance(span_id, str)
    ):
        raise QueryError("Invalid cursor format")
    return [start, trace_id, span_id]


def _origins(connection: sqlite3.Connection, rows: list[dict[str, Any]]) -> dict[int, dict[str, str]]:
    wanted = {row["origin"] for row in rows}
    found = connection.execute(
        f"SELECT id, metadata FROM origins WHERE id IN ({', '.join('?' * len(wanted))})", [*wanted]
    )
    return {key: json.loads(metadata) for key, metadata in found}


def _observation(
    row: Mapping[str, Any], query: ObservationsQuery, origins: Mapping[int, dict[str, str]]
) -> dict[str, Any]:
    extra = foreign_json.parse(row["extra"])
    found: dict[str, Any] = {
        "id": row["span_id"],
        "traceId": row["trace_id"],
        "startTime": iso(row["start_ns"]),
        "endTime": iso(row["end_ns"]),
        "projectId": PROJECT_ID,
        "parentObservationId": row["parent_id"],
        "type": row["type"],
        "modelId": None,
        "inputPrice": None,
        "outputPrice": None,
        "totalPrice": None,
    }
    for group in query.groups & _SHAPES.keys():
        found |= _SHAPES[group](row, extra)
    if "io" in query.groups:
        found |= {"input": row["input"], "output": row["output"]}
    if "metadata" in query.groups:
        values = {**origins.get(row["origin"], {}), **json.loads(row["metadata"])}
        found["metadata"] = {key: _shown(key, value, query.whole_metadata) for key, value in values.items()}
    return found


def _shown(key: str, value: str, whole: frozenset[str]) -> Any:
    """A metadata value as Langfuse returns it: cut unless expanded, and parsed if it is JSON."""
    text = value if key in whole else value[:_METADATA_CHARACTERS]
    if text[:1] not in _JSON_BEGINS:
        return text  # most values, at a tenth of the time
    try:
        return foreign_json.parse(text)
    except ValueError:
        return text


def iso(nanoseconds: int | None) -> str | None:
    """A UTC time with milliseconds in Langfuse's format; None outside the calendar's range."""
    if nanoseconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _basic(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "level": row["level"],
        "statusMessage": row["status_message"],
        "version": row["version"],
        "environment": row["environment"],
        "bookmarked": False,
        "public": False,
        "userId": row["user_id"],
        "sessionId": row["session_id"],
        "isRootObservation": bool(row["is_root"]),
    }


def _time(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    received = iso(row["received_ns"])
    return {"completionStartTime": iso(row["first_token_ns"]), "createdAt": received, "updatedAt": received}


def _model(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    # the server sends `providedModelName`, its client library reads `model`
    return {
        "providedModelName": row["model"],
        "model": row["model"],
        "internalModelId": None,
        "modelParameters": extra.get("parameters", {}),
    }


def _usage(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "usageDetails": extra.get("usage", {}),
        "costDetails": extra.get("cost", {}),
        "totalCost": row["total_cost"],
        "usagePricingTierName": None,
    }


def _prompt(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    return {"promptId": None, "promptName": row["prompt_name"], "promptVersion": row["prompt_version"]}


def _metrics(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    first = row["first_token_ns"]
    return {
        "latency": (row["end_ns"] - row["start_ns"]) / 1e9,
        "timeToFirstToken": None if first is None else (first - row["start_ns"]) / 1e9,
    }


def _trace_context(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    return {"tags": json.loads(row["tags"]), "release": row["release"], "traceName": row["trace_name"]}


_SHAPES: Final = {
    "basic": _basic,
    "time": _time,
    "model": _model,
    "usage": _usage,
    "prompt": _prompt,
    "metrics": _metrics,
    "trace_context": _trace_context,
}
