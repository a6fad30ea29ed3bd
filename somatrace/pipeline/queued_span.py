"""An item of the pipeline's queue, and the memory that it is estimated to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan

from somatrace.listeners.record import Phase
from somatrace.pipeline.span_parts import attributes_of, plain

#: Estimated bytes of a queued SDK span, excluding its texts (3.3 KB measured with 20 attributes).
SPAN_WEIGHT = 2048
EVENT_WEIGHT = 512


class QueuedSpan(NamedTuple):
    """A queued item: the phase, the span, and the event in phase "event"."""

    phase: Phase
    span: ReadableSpan
    event: Event | None = None


def weight_of(item: QueuedSpan) -> int:
    """Approximate bytes that an item keeps in memory; for an open span only the event counts.

    Runs on the program's thread on arbitrary values: an item that cannot be weighed is queued anyway.
    """
    try:
        return _estimated_size(item)
    except Exception:
        return SPAN_WEIGHT


def _estimated_size(item: QueuedSpan) -> int:
    events = item.span.events if item.phase == "ended" else (item.event,) if item.event is not None else ()
    weight = sum(EVENT_WEIGHT + _text_size(plain(event.attributes)) for event in events)
    return weight + SPAN_WEIGHT + _text_size(attributes_of(item.span)) if item.phase == "ended" else weight


def _text_size(value: Any) -> int:
    """The number of characters in an attribute value, including nested sequences and mappings."""
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is int or kind is float or kind is bool:  # before the slow isinstance check for Mapping
        return 0
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_text_size, value.values()))
    if isinstance(value, (tuple, list)):
        return 8 * len(value) + sum(map(_text_size, value))
    return 0
