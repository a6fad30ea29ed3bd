"""What everything that is not the road listens to: one stream of `Record`.

A listener is one callable that takes a `Record`. It is called on somatrace's own thread, in order,
after the content guard, so it can neither slow the program nor see what the tenant's policy
does not allow.
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
    """One thing that happened to one span.

    Times are nanoseconds since the epoch; `duration_ns` is None until the span has ended.
    `status` is "unset", "ok" or "error". For `phase="event"`, `name` is the event's name and
    `span_name` that of the span it belongs to; otherwise both are the span's.
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
    """A callable that takes each `Record`. What it raises is counted and logged once, never passed on."""

    def __call__(self, record: Record, /) -> None: ...
