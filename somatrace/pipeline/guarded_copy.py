"""Guarded copies of spans: an ended span is immutable, so only copies leave the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, SpanKind, TraceState
from opentelemetry.trace.status import Status, StatusCode

from somatrace import semconv
from somatrace.context.failure_notes import may_show_text
from somatrace.context.span_state import DECLARED_MARK, Naming, SpanState, state_of
from somatrace.context.tags import EMPTY, Tags
from somatrace.delivery.outgoing_span import OutgoingSpan
from somatrace.guard import Guard
from somatrace.guard.content_filter import NOTHING_DECLARED, ContentFilter
from somatrace.guard.removal_notes import note
from somatrace.guard.term_filter import TermFilter
from somatrace.guard.verdict_cache import MAX_KNOWN
from somatrace.pipeline.billed_usage import complete_usage
from somatrace.pipeline.control_flow_status import without_failure
from somatrace.pipeline.failure_places import place_of_event, place_of_span
from somatrace.pipeline.guarded_origins import ResourceCopier, ScopeCopier
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

#: Number of tag sets whose attributes are cached. Each workflow has its own set (because of its request id),
#: so few are in use at once.
_TAGS_KEPT: Final = 1024
_UNSET: Final = Status(StatusCode.UNSET)


class SpanCopier:
    """Makes guarded copies, with the tags of the span state, which override attributes of the same name."""

    def __init__(
        self,
        guard: Guard,
        *,
        service_name: str,
        default_tenant: str,
        resource: Callable[[Resource], Resource],
    ) -> None:
        self._guard = guard
        self._service = service_name
        self._tenant = default_tenant
        self._resources = ResourceCopier(guard, resource)
        self._tags: dict[
            tuple[int, str], tuple[Tags, ContentFilter, Sequence[TermFilter], Tags, dict[str, Any]]
        ] = {}
        self._names: dict[tuple[str, int, str], tuple[Any, str]] = {}
        self._workflows: dict[tuple[str, bool], str] = {}
        self._scopes = ScopeCopier(guard)

    def forget(self) -> None:
        """Recreate the resource, because a forked child is another process."""
        self._resources.forget()

    def tags(self, span: ReadableSpan) -> Tags:
        """The guarded tags of a span, always including the three required ones."""
        state = state_of(span)
        content_filter = self._content_filter(state)
        return self._tagged(span, state, content_filter, self._further_terms(state))[0]

    def _content_filter(self, state: SpanState | None) -> ContentFilter:
        found = self._guard.content_filter(state.tags.tenant if state is not None else None)
        return found.closed if state is not None and state.holds_foreign_text else found

    def _further_terms(self, state: SpanState | None) -> Sequence[TermFilter]:
        """The terms of other tenants whose names a span may carry."""
        others = state.other_tenants() if state is not None else ()
        found = (self._guard.content_filter(tenant).terms for tenant in sorted(map(str, others)))
        return [terms for terms in found if terms] if others else ()

    def _tagged(
        self,
        span: ReadableSpan,
        state: SpanState | None,
        content_filter: ContentFilter,
        further: Sequence[TermFilter] = (),
    ) -> tuple[Tags, dict[str, Any]]:
        """The tags of a span and their guarded attributes, cached because spans of one block share them."""
        found = state.shown if state is not None else EMPTY
        workflow = self._workflow(span, state)
        known = self._tags.get((id(found), workflow))
        if (
            known is None
            or known[0] is not found
            or known[1] is not content_filter
            or (further and known[2] != further)
        ):
            # the default is for work that names no tenant, not for work bound to none
            tenant = semconv.UNKNOWN_TENANT if found.names_tenant else self._tenant
            filled = self._guard.tags(
                found,
                content_filter,
                {semconv.TENANT: tenant, semconv.WORKFLOW: workflow, semconv.AGENT: self._service},
            )
            # a trace has one name, whatever further workflows run in it
            name = workflow
            if name != filled[semconv.WORKFLOW]:
                name = str(self._guard.tags(EMPTY, content_filter, {semconv.WORKFLOW: name})[semconv.WORKFLOW])
            for terms in further:
                filled, name = terms.tags(filled), terms.words(name)
            if len(self._tags) >= _TAGS_KEPT:
                self._tags.clear()
            attributes = {**filled.attributes, semconv.TRACE_NAME: name}
            known = self._tags[id(found), workflow] = (found, content_filter, further, filled, attributes)
        return known[3], known[4]

    def _workflow(self, span: ReadableSpan, state: SpanState | None) -> str:
        """The name of the trace: the guarded name of its first workflow, or else of the span's local root."""
        root = state.root if state is not None else None
        given = None if state is None else state.trace_workflow or state.root.naming
        if root is None or given is None:
            return self._name(naming_of(span), "span")
        known, workflow = root.workflow
        if known is not given:
            if isinstance(given, Naming):
                workflow = self._name(given, root.kind or "span")
            else:
                workflow = self._workflow_name(given.only(semconv.WORKFLOW))
            root.workflow = given, workflow
        return workflow

    def _workflow_name(self, workflow: Tags) -> str:
        """The guarded name of a bound or derived workflow, cached."""
        known = self._workflows.get(place := (str(workflow[semconv.WORKFLOW]), bool(workflow.bound)))
        if known is None:
            if len(self._workflows) >= MAX_KNOWN:
                self._workflows.clear()
            known = str(self._guard.tags(workflow, self._guard.without_content())[semconv.WORKFLOW])
            self._workflows[place] = known
        return known

    def _span_name(self, span: ReadableSpan, scope_name: str, kind: str) -> str:
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

    def _name(self, naming: Naming, kind: str) -> str:
        return self._guard.name(naming, self._scopes.shared(naming.scope).name, kind)

    def allows_text(self, tenant: str | None) -> bool:
        """Whether the policy allows content of `tenant` at the moment."""
        return self._guard.content_filter(tenant).mode != "none"

    def copy(self, span: ReadableSpan, events: Sequence[Event] | None = None) -> OutgoingSpan:
        """A copy with guarded name, attributes, events (or only the given ones), links, status and
        resource.

        A part that cannot be guarded is dropped and counted; the rest of the span is kept.
        """
        state = state_of(span)
        guard, safely = self._guard, self._guard.safely
        content_filter = self._content_filter(state)
        scope_name, scope = self._scopes.copy(span._instrumentation_scope, content_filter)
        further = self._further_terms(state)
        try:
            attributes = self._attributes(span, content_filter, state)
        except Exception:
            guard.faulted()
            attributes = {}
        # a root that a tenant was bound in later is labeled with it, and must not show its terms
        labeled = bool(further) and state is not None and state.label is not None
        if labeled:
            attributes = safely(further[0].mapping, {}, attributes)
        tagged: Mapping[str, Any] = {}
        try:
            tagged = self._tagged(span, state, content_filter, further)[1]
            tagged = tags_beside(attributes, tagged, state, content_filter.words)
        except Exception:
            guard.faulted()
        name = self._span_name(span, scope_name, str(attributes.get(semconv.SPAN_KIND, "span")))
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
        copy._resource = self._resources.copy(span._resource)
        copy.own, copy.tagged = attributes, tagged
        copy._events = copied
        links = links_of(span)
        copy._links = tuple([self._link(link, content_filter) for link in links]) if links else ()
        copy._kind = valid_kind(span._kind)
        code = status.status_code
        # the hash of a member of an enumeration is a Python function: most spans do without
        copy._status = _UNSET if code is StatusCode.UNSET else self._status(code, span, content_filter)
        copy._start_time, copy._end_time = valid_time(span._start_time), valid_time(span._end_time)
        copy._instrumentation_scope = scope
        copy.dropped = dropped_of(span)
        return copy

    def _attributes(
        self, span: ReadableSpan, content_filter: ContentFilter, state: SpanState | None
    ) -> dict[str, Any]:
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
