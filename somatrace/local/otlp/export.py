"""Export of a stored trace as an OTLP/JSON file, which this store and any OTLP backend accept.

An exported span has the same fields when it is imported again. Spans created by the langfuse package
keep no attributes, so their fields are written as Langfuse's own attributes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from somatrace import semconv

_STATUS: Final = {"unset": 0, "ok": 1, "error": 2}
_ATTRIBUTE: Final = "attributes."
_RESOURCE: Final = "resourceAttributes."
_SCOPE_ATTRIBUTE: Final = "scope.attributes."
#: columns of the store, and the attribute keys that fill them
_NAMED: Final = (
    ("type", semconv.OBSERVATION_TYPE),
    ("level", "langfuse.observation.level"),
    ("status_message", "langfuse.observation.status_message"),
    ("model", "langfuse.observation.model.name"),
    ("prompt_name", "langfuse.observation.prompt.name"),
    ("prompt_version", "langfuse.observation.prompt.version"),
    ("trace_name", semconv.TRACE_NAME),
    ("session_id", semconv.SESSION_ID),
    ("user_id", semconv.USER_ID),
    ("environment", "langfuse.environment"),
    ("version", "langfuse.version"),
    ("release", "langfuse.release"),
)


def pieces(connection: sqlite3.Connection, trace_id: str) -> Iterator[str]:
    """Yield the file in pieces, one per span; spans are grouped by resource and scope."""
    yield '{"resourceSpans":['
    cursor = connection.execute(
        "SELECT spans.*, origins.metadata AS shared FROM spans LEFT JOIN origins ON origins.id = origin "
        "WHERE trace_id = ? ORDER BY origin, start_ns, span_id",
        (trace_id,),
    )
    columns = [column[0] for column in cursor.description]
    origin: int | None = None
    for values in cursor:
        row = dict(zip(columns, values, strict=True))
        shared: dict[str, str] = json.loads(row["shared"] or "{}")
        if row["origin"] != origin:
            yield ("" if origin is None else "]}]},") + _opening(shared)
            origin = row["origin"]
        else:
            yield ","
        yield json.dumps(_span(row, shared))
    yield "]}" if origin is None else "]}]}]}"


def _opening(shared: Mapping[str, str]) -> str:
    resource = {
        key.removeprefix(_RESOURCE): value for key, value in shared.items() if key.startswith(_RESOURCE)
    }
    scope = {
        "name": shared.get("scope.name", ""),
        "version": shared.get("scope.version", ""),
        "attributes": _pairs(
            {
                key.removeprefix(_SCOPE_ATTRIBUTE): value
                for key, value in shared.items()
                if key.startswith(_SCOPE_ATTRIBUTE)
            }
        ),
    }
    attributes = json.dumps(_pairs(resource))
    return f'{{"resource":{{"attributes":{attributes}}},"scopeSpans":[{{"scope":{json.dumps(scope)},"spans":['


def _span(row: Mapping[str, Any], shared: Mapping[str, str]) -> dict[str, Any]:
    extra = json.loads(row["extra"])
    return {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        "parentSpanId": row["parent_id"] or "",
        "name": row["name"],
        "kind": extra.get("kind", 0),
        "startTimeUnixNano": str(row["start_ns"]),
        "endTimeUnixNano": str(row["end_ns"] if row["status"] != "open" else 0),
        "attributes": _pairs(_attributes(row, extra, shared)),
        "droppedAttributesCount": extra.get("dropped", 0),
        "events": [
            {
                "name": event["name"],
                "timeUnixNano": str(event["time_ns"]),
                "attributes": _pairs(event["attributes"]),
            }
            for event in extra.get("events", ())
        ],
        "links": [
            {"traceId": link["trace_id"], "spanId": link["span_id"]} for link in extra.get("links", ())
        ],
        "status": {"code": _STATUS.get(row["status"], 0), "message": row["status_message"] or ""},
    }


def _attributes(
    row: Mapping[str, Any], extra: Mapping[str, Any], shared: Mapping[str, str]
) -> dict[str, Any]:
    typed = set(extra.get("typed", ()))
    found: dict[str, Any] = {}
    for place, (key, value) in enumerate(json.loads(row["metadata"]).items()):
        if key.startswith(_ATTRIBUTE):
            found[key.removeprefix(_ATTRIBUTE)] = json.loads(value) if place in typed else value
        else:
            found[semconv.TRACE_METADATA + key] = value
    for column, key in (("input", semconv.OBSERVATION_INPUT), ("output", semconv.OBSERVATION_OUTPUT)):
        if row[column] is not None:
            found[key] = row[column]
    if shared.get("scope.name", "").startswith("langfuse-sdk"):
        found |= _langfuse_attributes(row, extra)
    return found


def _langfuse_attributes(row: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: str(row[column]) for column, key in _NAMED if row[column] is not None}
    found[semconv.OBSERVATION_TYPE] = row["type"].lower()
    found[semconv.TRACE_TAGS] = json.loads(row["tags"])
    if row["is_root"]:
        found["langfuse.internal.is_app_root"] = True
    for field, key in (
        ("usage", semconv.OBSERVATION_USAGE),
        ("cost", semconv.OBSERVATION_COST),
        ("parameters", "langfuse.observation.model.parameters"),
    ):
        if field in extra:
            found[key] = json.dumps(extra[field])
    if row["first_token_ns"] is not None:
        moment = datetime.fromtimestamp(row["first_token_ns"] / 1e9, UTC)
        found[semconv.COMPLETION_START] = moment.isoformat()
    return found


def _pairs(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        # beyond 64 bits, text is the only representation
        return {"intValue": str(value)} if -(2**63) <= value < 2**63 else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _pairs(value)}}
    return {} if value is None else {"stringValue": value}
