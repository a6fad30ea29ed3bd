"""Guarded copies of spans: an ended span is immutable, so only copies leave the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, SpanKind, TraceState
from opentelemetry.trace.status import Status, StatusCode

from somatrace import semconv
from somatrace.context.failure_notes import may_show_text
from somatrace.context.span_state import DECLARED_MARK, SpanState, state_of
from somatrace.delivery.outgoing_span import OutgoingSpan
from somatrace.guard import Guard
from somatrace.guard.content_filter import NOTHING_DECLARED, ContentFilter
from somatrace.guard.removal_notes import note
from somatrace.guard.verdict_cache import MAX_KNOWN
from somatrace.pipeline.billed_usage import complete_usage
from somatrace.pipeline.call_costs import CallCosts
from somatrace.pipeline.control_flow_status import without_failure
from somatrace.pipeline.failure_places import place_of_event, place_of_span
from somatrace.pipeline.guarded_origins import ResourceCopier
from somatrace.pipeline.observation_types import add_type
from somatrace.pipeline.own_trace_attributes import filtered, tags_beside
from somatrace.pipeline.span_naming import is_plain, naming_of
from somatrace.pipeline.span_parts import (
    attributes_of,
    dropped_of,
    events_of,
    held_attributes,
    links_of,
    plain,
    with_exception_type,
)
from somatrace.pipeline.span_times_and_kinds import valid_kind, valid_time
from somatrace.pipeline.surroundings import SurroundingsCopier
from somatrace.pipeline.token_counts import token_counts

UNSET: Final = Status(StatusCode.UNSET)


class SpanCopier:
    """Makes guarded copies, with the tags of the span state, which override attributes of the same name."""

    def __init__(
        self,
        guard: Guard,
        *,
        service_name: str,
        default_tenant: str,
        resource: Callable[[Resource], Resource],
        costs: CallCosts | None = None,
    ) -> None:
        """`costs` prices model calls; without it they have no cost."""
        self._guard = guard
        self._resources = ResourceCopier(guard, resource)
        self.resource = self._resources.copy
        self.costs = costs
        self._names: dict[tuple[str, int, str], tuple[Any, str]] = {}
        self._surroundings = SurroundingsCopier(guard, service_name, default_tenant)
        self.surroundings = self._surroundings.of
        #: A block in which the policy is asked once for spans that follow each other.
        self.batch = self._surroundings.batch

    def forget(self) -> None:
        """Recreate the resource, because a forked child is another process."""
        self._resources.forget()
        if self.costs is not None:
            self.costs.forget()

    def span_name(self, span: ReadableSpan, scope_name: str, kind: str) -> str:
        """The guarded name of a span, cached if nothing but name, scope and kind decide about it."""
        given, scope = span._name, span._instrumentation_scope
        if type(given) is not str or span._kind is SpanKind.SERVER:
            return self._guard.name(naming_of(span), scope_name, kind)
        known = self._names.get((given, id(scope), kind))
        if known is not None and known[0] is scope:
            return known[1]
        name = self._guard.name(naming_of(span), scope_name, kind)
        if name != kind and is_plain(span):  # the kind stands in for a name that failed
            if len(self._names) >= MAX_KNOWN:
                self._names.clear()
            self._names[given, id(scope), kind] = scope, name
        return name

    def tenant(self, name: str | None) -> str:
        """A tenant's name as it leaves, or that of spans without one."""
        return self._surroundings.tenant(name)

    def allows_text(self, tenant: str | None) -> bool:
        """Whether the policy allows content of `tenant` at the moment."""
        return self._guard.content_filter(tenant).mode != "none"

    def copy(
        self,
        span: ReadableSpan,
        events: Sequence[Event] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> OutgoingSpan:
        """A copy with guarded name, attributes, events (or only the given attributes and events), links,
        status and resource.

        A part that cannot be guarded is dropped and counted; the rest of the span is kept.
        """
        state = state_of(span)
        guard, safely = self._guard, self._guard.safely
        around = self.surroundings(span, state)
        content_filter, further, scope_name = around.content_filter, around.further, around.scope_name
        try:
            attributes = self._attributes(span, content_filter, state, values)
        except Exception:
            guard.faulted()
            attributes = {}
        # a root that a tenant was bound in later is labeled with it, and must not show its terms
        labeled = bool(further) and state is not None and state.label is not None
        if labeled:
            attributes = safely(further[0].mapping, {}, attributes)
        tagged = around.tagged
        try:
            tagged = tags_beside(attributes, tagged, state, content_filter.words)
        except Exception:
            guard.faulted()
        name = self.span_name(span, scope_name, str(attributes.get(semconv.SPAN_KIND, "span")))
        if content_filter.terms:
            name = content_filter.words(name)
        if labeled:
            name = further[0].words(name)
        add_type(attributes, scope_name, name)
        chosen, status = events_of(span, events), span._status
        # most spans have neither events nor links: empty tuples cost the garbage collector nothing
        copied = (
            tuple([self._event(event, content_filter, scope_name, state) for event in chosen])
            if chosen
            else ()
        )
        if copied or (state is not None and state.failures):
            place = safely(place_of_span, "", copied, state, closed=content_filter.mode == "none")
            if place:
                attributes.setdefault(semconv.EXCEPTION_STACKTRACE, content_filter.place(place))
        copy = object.__new__(OutgoingSpan)
        copy._name = name
        copy._context = self._context(span._context)
        copy._parent = self._context(span._parent)
        copy._resource = self.resource(span._resource)
        copy.own, copy.tagged, copy.tags = attributes, tagged, around.tags
        copy._events = copied
        links = links_of(span)
        copy._links = tuple([self._link(link, content_filter) for link in links]) if links else ()
        copy._kind = valid_kind(span._kind)
        code = status.status_code
        # the hash of a member of an enumeration is a Python function: most spans do without
        copy._status = UNSET if code is StatusCode.UNSET else self._status(code, span, content_filter)
        copy._start_time, copy._end_time = valid_time(span._start_time), valid_time(span._end_time)
        copy._instrumentation_scope = around.scope
        copy.dropped = dropped_of(span)
        return copy

    def _attributes(
        self,
        span: ReadableSpan,
        content_filter: ContentFilter,
        state: SpanState | None,
        values: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        given = values
        if given is None:
            # an ended span no longer changes: its attributes are read in place
            given = attributes_of(span) if span.end_time is None else held_attributes(span)
        declared = state.declared if state is not None else NOTHING_DECLARED
        kept, removed = filtered(given, declared, content_filter)
        if removed:
            kept[semconv.GUARD_REMOVED] = note(removed)
        if state is not None and state.kind is not None and semconv.SPAN_KIND not in kept:
            # above the attribute limit the SDK drops the oldest attributes, which include the kind
            for key, value in semconv.KIND_ATTRIBUTES[state.kind].items():
                kept.setdefault(key, value)
        complete_usage(kept, span, state)
        if self.costs is not None and span._end_time is not None and semconv.OBSERVATION_USAGE in kept:
            counts = token_counts(kept).details
            kept |= self.costs.of(kept, counts, span._end_time)
        if state is not None and state.outcome is not None:
            without_failure(kept, state, span.status.status_code)
        return kept

    def _event(
        self, event: Event, content_filter: ContentFilter, scope: str, state: SpanState | None
    ) -> Event:
        given = plain(event.attributes)
        if not may_show_text(given, state):
            content_filter = content_filter.closed
        declared = given.get(semconv.DECLARED) == DECLARED_MARK
        name = content_filter.words(self._guard.event_name(event.name, scope, declared=declared))
        number = given.pop(semconv.FAILURE, None)
        attributes: dict[str, Any] = self._guard.safely(content_filter.event, {}, given)
        if number is not None or semconv.EXCEPTION_STACKTRACE in given:
            place = self._guard.safely(place_of_event, "", number, given, attributes, state)
            if place:
                attributes.setdefault(semconv.EXCEPTION_STACKTRACE, content_filter.place(place))
        return Event(name, attributes, valid_time(event.timestamp))

    def _link(self, link: Link, content_filter: ContentFilter) -> Link:
        context = self._context(link.context)
        assert context is not None
        attributes: dict[str, Any] = self._guard.safely(content_filter.event, {}, plain(link.attributes))
        return Link(context, attributes)

    def _status(self, code: StatusCode, span: ReadableSpan, content_filter: ContentFilter) -> Status:
        """The status without a description, except as much of an error's as may leave."""
        if code is not StatusCode.ERROR:
            return Status(code)
        try:
            description = content_filter.status(span._status.description, with_exception_type(span))
        except Exception:
            self._guard.faulted()
            description = ""
        return Status(code, description or None)

    def _context(self, context: SpanContext | None) -> SpanContext | None:
        """The context with only the sampling entries of its tracestate."""
        if context is None:
            return None
        entries = context.trace_state
        if entries is DEFAULT_TRACE_STATE or not entries:
            return context
        kept: list[tuple[str, str]] = self._guard.safely(self._guard.tracestate, [], entries)
        return SpanContext(
            context.trace_id, context.span_id, context.is_remote, context.trace_flags, TraceState(kept)
        )
