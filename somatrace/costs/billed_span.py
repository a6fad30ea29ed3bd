"""What one observation of a backend adds to a cost report."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from somatrace import semconv
from somatrace.costs.billing_rule import billed

Observation = Mapping[str, Any]

USAGE_COUNTED: Final = f"attributes.{semconv.USAGE_COUNTED}"
_PROVIDERS: Final = tuple(f"attributes.{key}" for key in (semconv.PROVIDER, semconv.SYSTEM))
_SERVICE: Final = f"resourceAttributes.{semconv.SERVICE_NAME}"


class BilledSpan(NamedTuple):
    """A model call, or a span with the tokens of calls that made no spans.

    `cost` is None if it is unknown, and `currency` is that of `cost`.
    """

    labels: tuple[str, ...]
    model: str
    start: dt.datetime
    milliseconds: int
    is_call: bool
    failed: bool
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    currency: str


def billed_span(observation: Observation, by: Sequence[str], zone: dt.tzinfo = dt.UTC) -> BilledSpan | None:
    """The figures of an observation with its labels, None if it neither is a call nor has tokens of its own.

    What counts is what the page of `somatrace local` counts (`local/store/definitions.py`). Raises TypeError,
    ValueError, KeyError, AttributeError or ArithmeticError for what is no observation.
    """
    metadata = _metadata(observation)
    found = billed(
        observation["type"],
        str(observation.get("level")),
        observation.get("usageDetails") or {},
        observation.get("costDetails") or {},
        lambda key: metadata.get(f"attributes.{key}"),
    )
    if found is None:
        return None
    start = started(observation)
    end = _time(observation.get("endTime") or observation["startTime"])
    return BilledSpan(
        labels_of(observation, by, zone),
        _VALUES["model"](observation),
        start,
        round((end - start) / dt.timedelta(milliseconds=1)),
        *found,
    )


def labels_of(observation: Observation, by: Sequence[str], zone: dt.tzinfo) -> tuple[str, ...]:
    """The values of an observation for dimensions and attributes, "" if it has none; days of `zone`."""
    return tuple(_label(observation, name, zone) for name in by)


def _label(observation: Observation, name: str, zone: dt.tzinfo) -> str:
    if name == "day":
        return started(observation).astimezone(zone).date().isoformat()
    if name in _VALUES:
        return _VALUES[name](observation)
    metadata = _metadata(observation)
    return _text(metadata.get(name, metadata.get(f"attributes.{name}")))


def started(observation: Observation) -> dt.datetime:
    """When an observation began, in UTC."""
    return _time(observation["startTime"])


def _tag(label: str, key: str) -> Callable[[Observation], str]:
    """A tag, by its label: backends parse metadata as JSON, and show `1.10` as 1.1."""

    def value(observation: Observation) -> str:
        labels = (str(tag) for tag in observation.get("tags") or ())
        found = next((tag.removeprefix(label) for tag in labels if tag.startswith(label)), "")
        return found or _text(_metadata(observation).get(key))

    return value


def _provider(observation: Observation) -> str:
    metadata = _metadata(observation)
    return next((_text(metadata[key]) for key in _PROVIDERS if key in metadata), "")


_VALUES: Final[Mapping[str, Callable[[Observation], str]]] = {
    "tenant": _tag("tenant:", semconv.TENANT),
    "workflow": _tag("workflow:", semconv.WORKFLOW),
    "agent": _tag("agent:", semconv.AGENT),
    "model": lambda observation: _text(observation.get("providedModelName")),
    "provider": _provider,
    "service": lambda observation: _text(_metadata(observation).get(_SERVICE)),
}
#: What a report can be by, besides attributes.
DIMENSIONS: Final = (*_VALUES, "day")


def _metadata(observation: Observation) -> Mapping[str, Any]:
    found = observation.get("metadata")
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    """A value of metadata, which backends parse if it is JSON."""
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)


def _time(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return found.replace(tzinfo=found.tzinfo or dt.UTC).astimezone(dt.UTC)
