"""The stream of `Record`s that listeners receive.

A listener is a callable that takes a `Record`. It is called in order, on somatrace's own thread, after
the content guard, so it can neither slow down the program nor see content that the tenant's policy does
not allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from somatrace.context.tags import Scalar

Phase = Literal["started", "event", "ended"]
AttributeValue = (
    str | bool | int | float | tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...]
)


@dataclass(frozen=True, slots=True)
class Record:
    """The start or end of a span, or an event on it.

    Times are nanoseconds since the epoch; `duration_ns` is None until the span has ended.
    `status` is "unset", "ok" or "error". `attributes` are those of the span at its start or end, or those of
    the event. For `phase="event"`, `name` is the name of the event and
    `span_name` that of its span; otherwise both are the name of the span.
    """

    phase: Phase
    name: str
    span_name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    time_ns: int
    duration_ns: int | None = None
    status: Literal["unset", "ok", "error"] = "unset"
    tags: Mapping[str, Scalar] = field(default_factory=dict)
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)


class Listener(Protocol):
    """A callable that receives each `Record`. Its exceptions are logged once and never propagate."""

    def __call__(self, record: Record, /) -> None: ...
