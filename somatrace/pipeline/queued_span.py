"""An item of the pipeline's queue, and the memory that it is estimated to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import Event, ReadableSpan

from somatrace.listeners.record import Phase
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.span_parts import attributes_of, events_of, plain

#: Estimated bytes of a queued SDK span, excluding its texts (3.3 KB measured with 20 attributes).
SPAN_WEIGHT = 2048
EVENT_WEIGHT = 512
#: Of a lean span, and of each attribute with a short text or a number.
LEAN_WEIGHT = 768
ATTRIBUTE_WEIGHT = 64


class QueuedSpan(NamedTuple):
    """A queued item: the phase, the span, the event in phase "event", and in phase "started" the attributes
    at the start, if they are known."""

    phase: Phase
    span: ReadableSpan
    event: Event | None = None
    values: dict[str, Any] | None = None


def ended(span: ReadableSpan) -> QueuedSpan:
    """The item of an ended span. The constructor takes three times as long as the tuple's."""
    return tuple.__new__(QueuedSpan, ("ended", span, None, None))


def weight_of(item: QueuedSpan) -> int:
    """Approximate bytes that an item keeps in memory; for an open span only the event counts.

    Runs on the program's thread on arbitrary values: an item that cannot be weighed is queued anyway.
    """
    span = item.span
    if type(span) is LeanSpan and item.phase == "ended" and span.made_events is None:
        return LEAN_WEIGHT + ATTRIBUTE_WEIGHT * len(span.values) + span.texts_size
    try:
        return _estimated_size(item)
    except Exception:
        return SPAN_WEIGHT


def _estimated_size(item: QueuedSpan) -> int:
    weight = 0
    if item.phase == "ended":
        weight = SPAN_WEIGHT + _texts_size(attributes_of(item.span))
        events = events_of(item.span, None)
    else:
        events = (item.event,) if item.event is not None else ()
    for event in events:
        weight += EVENT_WEIGHT + _texts_size(plain(event.attributes))
    return weight


def _texts_size(attributes: dict[str, Any]) -> int:
    """The number of characters in the values of attributes, most of which are texts and numbers."""
    size = 0
    for value in attributes.values():
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is not int and kind is not float and kind is not bool:
            size += _text_size(value)
    return size


def _text_size(value: Any) -> int:
    """The number of characters in an attribute value, including nested sequences and mappings."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (tuple, list)):
        return 8 * len(value) + sum(map(_text_size, value))
    if isinstance(value, (int, float)):  # before the slow check for Mapping
        return 0
    return sum(map(_text_size, value.values())) if isinstance(value, Mapping) else 0
