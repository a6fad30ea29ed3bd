"""Read the parts of spans fast: the SDK's properties copy or wrap what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link

from somatrace import semconv
from somatrace.delivery.outgoing_span import NONE_DROPPED
from somatrace.pipeline.lean_span import LeanSpan


def dropped_of(span: ReadableSpan) -> tuple[int, ...]:
    """The numbers of attributes, events and links that a span lost to its limits."""
    if type(span) is LeanSpan and span.made_events is None and span.made_links is None:
        return (span._dropped, 0, 0) if span._dropped else NONE_DROPPED
    # bypass the properties, which check each type first
    limited: Any = (span._attributes, span._events, span._links)
    dropped: tuple[int, ...]
    try:
        dropped = limited[0].dropped, limited[1].dropped, limited[2].dropped
    except AttributeError:  # plain containers that the SDK has not limited
        dropped = tuple([getattr(part, "dropped", 0) for part in limited])
    return NONE_DROPPED if dropped == NONE_DROPPED else dropped


def events_of(span: ReadableSpan, chosen: Sequence[Event] | None) -> Sequence[Event]:
    """The chosen events, or all of the span's; `span.events` makes a copy even if there are none."""
    if chosen is not None:
        return chosen
    held = span.made_events if type(span) is LeanSpan else span._events
    return span.events if has_items(held) else ()


def links_of(span: ReadableSpan) -> Sequence[Link]:
    """The links of a span; `span.links` makes a copy even if there are none."""
    held = span.made_links if type(span) is LeanSpan else span._links
    return span.links if has_items(held) else ()


def has_items(part: Any) -> bool:
    """Whether a span's list of events or links has any. The SDK's list is written in Python: asking the
    deque it wraps takes a third of the time."""
    return bool(getattr(part, "_dq", part))


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """A copy of a span's attributes; `span.attributes` wraps them in a proxy."""
    return plain(held_attributes(span))


def held_attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of a span themselves, which change while it is open."""
    if type(span) is LeanSpan:
        return span.values
    held: Any = getattr(span, "_attributes", None)
    inner = getattr(held, "_dict", None)
    return inner if type(inner) is dict else held or span.attributes or {}


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of a mapping of attributes. The SDK's mapping is written in Python: reading the dict it wraps
    takes a tenth of the time."""
    inner = getattr(attributes, "_dict", None)
    return inner.copy() if type(inner) is dict else dict(attributes or {})


def with_exception_type(span: ReadableSpan) -> Mapping[str, object]:
    """The span's attributes, plus the exception type if only the exception event has it."""
    attributes = attributes_of(span)
    if semconv.ERROR_TYPE not in attributes:
        for event in reversed(span.events):
            if event.name == "exception" and event.attributes:
                attributes[semconv.ERROR_TYPE] = event.attributes.get(semconv.EXCEPTION_TYPE, "")
                break
    return attributes
