"""Proxy for a live span passed to third-party processors: writes pass through, reads are guarded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from opentelemetry import trace as trace_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util import types

from somatrace.pipeline.span_times_and_kinds import valid_kind, valid_time


class GuardedSpan(Span):
    """A guarded view of a live span. `copy` makes a guarded copy of its current state."""

    def __new__(cls, *_: object) -> Self:
        return object.__new__(cls)

    def __init__(self, span: Span, copy: Callable[[], ReadableSpan]) -> None:
        # a closure, so that code that inspects the fields of this object does not find the raw span
        self._somatrace_live: Callable[[], Span] = lambda: span
        self._somatrace_copy = copy

    @property
    def _somatrace_span(self) -> Span:
        return self._somatrace_live()

    def __getattr__(self, name: str) -> Any:
        """Read private fields (`_attributes`, `_name`, …) from the guarded copy."""
        if name.startswith("_somatrace"):
            raise AttributeError(name)
        return getattr(self._somatrace_copy(), name)

    # -- reads ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._somatrace_copy().name

    @property
    def context(self) -> SpanContext:
        return self.get_span_context()

    def get_span_context(self) -> SpanContext:
        context = self._somatrace_span.get_span_context()
        return (self._somatrace_copy().context or context) if context.trace_state else context

    @property
    def kind(self) -> trace_api.SpanKind:
        return valid_kind(self._somatrace_span.kind)

    @property
    def parent(self) -> SpanContext | None:
        parent = self._somatrace_span.parent
        return self._somatrace_copy().parent if parent is not None and parent.trace_state else parent

    @property
    def start_time(self) -> int | None:
        return valid_time(self._somatrace_span.start_time)

    @property
    def end_time(self) -> int | None:
        return valid_time(self._somatrace_span.end_time)

    @property
    def status(self) -> Status:
        return self._somatrace_copy().status

    @property
    def attributes(self) -> types.Attributes:
        return self._somatrace_copy().attributes

    @property
    def events(self) -> Sequence[Event]:
        return self._somatrace_copy().events

    @property
    def links(self) -> Sequence[Link]:
        return self._somatrace_copy().links

    @property
    def resource(self) -> Resource:
        return self._somatrace_copy().resource

    @property
    def instrumentation_scope(self) -> Any:
        return self._somatrace_copy().instrumentation_scope

    def to_json(self, indent: int | None = 4) -> str:
        return str(self._somatrace_copy().to_json(indent))

    def _readable_span(self) -> ReadableSpan:
        return self._somatrace_copy()

    def is_recording(self) -> bool:
        return self._somatrace_span.is_recording()

    def __repr__(self) -> str:
        return f"GuardedSpan({self.name!r})"

    # -- writes -----------------------------------------------------------------------------------

    def set_attribute(self, key: str, value: types.AnyValue) -> None:
        self._somatrace_span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, types.AnyValue]) -> None:
        self._somatrace_span.set_attributes(attributes)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        self._somatrace_span.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        self._somatrace_span.add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._somatrace_span.update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._somatrace_span.set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._somatrace_span.record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        self._somatrace_span.end(end_time)
