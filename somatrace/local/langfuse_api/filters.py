"""Translation of Langfuse's filter conditions to SQL over the `spans` table, with bound values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from somatrace import semconv

_MAX_CONDITIONS: Final = 50
_MAX_OPTIONS: Final = 1000
_MAX_VALUE: Final = 4096
_MAX_INT: Final = 2**63 - 1

Sql = tuple[str, list[Any]]

TEXT: Final[Mapping[str, str]] = {
    "id": "span_id",
    "traceId": "trace_id",
    "parentObservationId": "parent_id",
    "type": "type",
    "name": "name",
    "environment": "environment",
    "level": "level",
    "statusMessage": "status_message",
    "version": "version",
    "traceVersion": "version",
    "release": "release",
    "traceRelease": "release",
    "userId": "user_id",
    "sessionId": "session_id",
    "traceName": "trace_name",
    "model": "model",
    "providedModelName": "model",
    "promptName": "prompt_name",
    "input": "input",
    "output": "output",
}
LATENCY_SECONDS: Final = "((end_ns - start_ns) / 1e9)"
NUMBERS: Final[Mapping[str, str]] = {
    "latency": LATENCY_SECONDS,
    "timeToFirstToken": "((first_token_ns - start_ns) / 1e9)",
    "tokensPerSecond": f"(output_tokens / nullif({LATENCY_SECONDS}, 0))",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": "total_tokens",
    "tokens": "total_tokens",
    "inputCost": "input_cost",
    "outputCost": "output_cost",
    "totalCost": "total_cost",
    "promptVersion": "prompt_version",
}
_TIMES: Final = {"startTime": "start_ns", "endTime": "end_ns"}
_TAGS: Final = ("tags", "traceTags")
_COMPARE: Final = ("=", ">", "<", ">=", "<=")
#: the tag columns also contain these metadata keys, so that their index can narrow the search
_INDEXED: Final = {semconv.TENANT: "tenant_id"}


class QueryError(ValueError):
    """An invalid query; the message is sent to the client."""


def conditions(given: Any) -> list[Sql]:
    """Translate each of Langfuse's conditions to SQL; raises `QueryError`."""
    if not isinstance(given, list) or len(given) > _MAX_CONDITIONS:
        raise QueryError(f"filters must be an array of at most {_MAX_CONDITIONS} conditions")
    return [_condition(item) for item in given]


def json_value(given: str) -> Any:
    """The value of a JSON text without lone surrogates, which the store cannot hold. Raises `ValueError`."""
    try:
        value = json.loads(given)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def nanoseconds(value: Any) -> int:
    """An ISO 8601 time as nanoseconds since the epoch, within 64 bits: stored times are too.

    Without a zone it is UTC. Raises `QueryError`.
    """
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC)
        return max(-_MAX_INT, min(int(moment.timestamp() * 1_000_000) * 1000, _MAX_INT))
    except (TypeError, ValueError, OverflowError):
        raise QueryError(f"not an ISO 8601 time: {str(value)[:100]!r}") from None


def _condition(item: Any) -> Sql:
    if not isinstance(item, dict):
        raise QueryError("a filter condition must be an object")
    kind, column, operator = (item.get(part) for part in ("type", "column", "operator"))
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise QueryError(f"unknown filter type {str(kind)[:100]!r}")
    return build(str(column), str(operator), item)


def _of(columns: Mapping[str, str], column: str) -> str:
    try:
        return columns[column]
    except KeyError:
        raise QueryError(f"cannot filter on column {column[:100]!r} with this type") from None


def _text(expression: str, arguments: list[Any], operator: str, value: Any) -> Sql:
    if not isinstance(value, str) or len(value) > _MAX_VALUE:
        raise QueryError(f"a text filter needs a value of at most {_MAX_VALUE} characters")
    forms = {
        "=": f"{expression} = ?",
        "contains": f"instr({expression}, ?) > 0",
        "matches": f"instr({expression}, ?) > 0",
        "does not contain": f"instr(ifnull({expression}, ''), ?) = 0",
        "starts with": f"substr({expression}, 1, {len(value)}) = ?",
        "ends with": f"substr({expression}, -{len(value)}) = ?",
    }
    if operator not in forms:
        raise QueryError(f"unknown text operator {operator[:100]!r}")
    return forms[operator], [*arguments, value]


def _number(expression: str, arguments: list[Any], operator: str, value: Any) -> Sql:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -(2**63) <= value < 2**63:
        raise QueryError("a number filter needs a number")
    if operator not in _COMPARE:
        raise QueryError(f"unknown number operator {operator[:100]!r}")
    return f"{expression} {operator} ?", [*arguments, value]


def _options(expression: str, arguments: list[Any], operator: str, value: Any) -> Sql:
    options = _option_list(value)
    marks = ", ".join("?" * len(options))
    if operator == "any of":
        return f"{expression} IN ({marks})", [*arguments, *options]
    if operator == "none of":
        return f"ifnull({expression}, '') NOT IN ({marks})", [*arguments, *options]
    raise QueryError(f"unknown options operator {operator[:100]!r}")


def _option_list(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _MAX_OPTIONS or not all(isinstance(v, str) for v in value):
        raise QueryError(f"an options filter needs a list of at most {_MAX_OPTIONS} strings")
    return value


def _array(column: str, operator: str, item: dict[str, Any]) -> Sql:
    if column not in _TAGS:
        raise QueryError(f"cannot filter on column {column[:100]!r} with this type")
    options = _option_list(item.get("value"))
    marks = ", ".join("?" * len(options))
    found = f"(SELECT count(DISTINCT value) FROM json_each(spans.tags) WHERE value IN ({marks}))"
    wanted = {"any of": "> 0", "none of": "= 0", "all of": f"= {len(set(options))}"}
    if operator not in wanted:
        raise QueryError(f"unknown array operator {operator[:100]!r}")
    return f"{found} {wanted[operator]}", list(options)


def _metadata(column: str, item: dict[str, Any]) -> tuple[str, list[Any], str]:
    key = item.get("key")
    if column != "metadata" or not isinstance(key, str) or len(key) > _MAX_VALUE:
        raise QueryError("this filter type needs the column 'metadata' and a key")
    own = "(SELECT e.value FROM json_each(spans.metadata) AS e WHERE e.key = ?)"
    if not key.startswith(("resourceAttributes.", "scope.")):
        return own, [key], key
    shared = (
        "(SELECT e.value FROM origins AS o, json_each(o.metadata) AS e "
        "WHERE o.id = spans.origin AND e.key = ?)"
    )
    return f"coalesce({own}, {shared})", [key, key], key


def _metadata_text(column: str, operator: str, item: dict[str, Any]) -> Sql:
    expression, arguments, key = _metadata(column, item)
    if operator in ("is set", "is not set"):
        return f"{expression} IS {'NOT NULL' if operator == 'is set' else 'NULL'}", arguments
    sql, values = _text(expression, arguments, operator, item.get("value"))
    if operator == "=" and key in _INDEXED:
        return f"{_INDEXED[key]} = ? AND {sql}", [item["value"], *values]
    return sql, values


def _metadata_number(column: str, operator: str, item: dict[str, Any]) -> Sql:
    expression, arguments, _ = _metadata(column, item)
    return _number(f"CAST({expression} AS REAL)", arguments, operator, item.get("value"))


def _categories(column: str, operator: str, item: dict[str, Any]) -> Sql:
    expression, arguments, _ = _metadata(column, item)
    return _options(expression, arguments, operator, item.get("value"))


def _time(column: str, operator: str, item: dict[str, Any]) -> Sql:
    if operator not in _COMPARE[1:]:
        raise QueryError(f"unknown time operator {operator[:100]!r}")
    return f"{_of(_TIMES, column)} {operator} ?", [nanoseconds(item.get("value"))]


def _boolean(column: str, operator: str, item: dict[str, Any]) -> Sql:
    value = item.get("value")
    if column != "isRootObservation" or operator not in ("=", "<>") or not isinstance(value, bool):
        raise QueryError(
            "a boolean filter needs the column 'isRootObservation', '=' or '<>', and true or false"
        )
    return f"is_root {operator} ?", [value]


def _null(column: str, operator: str, item: dict[str, Any]) -> Sql:
    if operator not in ("is null", "is not null"):
        raise QueryError(f"unknown null operator {operator[:100]!r}")
    return f"{_of({**TEXT, **NUMBERS}, column)} {operator.upper()}", []


_BUILDERS: Final[Mapping[str, Callable[[str, str, dict[str, Any]], Sql]]] = {
    "string": lambda column, operator, item: _text(_of(TEXT, column), [], operator, item.get("value")),
    "number": lambda column, operator, item: _number(_of(NUMBERS, column), [], operator, item.get("value")),
    "stringOptions": lambda column, operator, item: _options(
        _of(TEXT, column), [], operator, item.get("value")
    ),
    "categoryOptions": _categories,
    "arrayOptions": _array,
    "stringObject": _metadata_text,
    "numberObject": _metadata_number,
    "datetime": _time,
    "boolean": _boolean,
    "null": _null,
}
