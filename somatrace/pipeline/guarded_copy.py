"""Guarded copies of spans: an ended span is immutable, so only copies leave the process."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, TraceState
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes

from somatrace import semconv
from somatrace.context.span_state import DECLARED_MARK, Naming, SpanState, state_of
from somatrace.context.tags import EMPTY, Tags
from somatrace.guard import Guard
from somatrace.guard.content_filter import NOTHING_DECLARED, ContentFilter
from somatrace.guard.redaction.redact import find
from somatrace.guard.removal_notes import note
from somatrace.pipeline.billed_usage import without_counted
from somatrace.pipeline.control_flow_status import without_failure
from somatrace.pipeline.failure_places import place_of_event, place_of_span
from somatrace.pipeline.span_naming import naming_of

_TRACELOOP_KINDS = {kind: observation for observation, _, kind in semconv.KINDS.values() if kind is not None}

#: Number of tag sets whose attributes are cached. Each workflow has its own set (because of its request id),
#: so few are in use at once.
_TAGS_KEPT: Final = 1024
_NO_PAIR: Final[tuple[Resource | None, Resource]] = (None, Resource({}))
_NO_SCOPE: Final[tuple[InstrumentationScope | None, InstrumentationScope | None]] = (None, None)
_NONE_DROPPED: Final = (0, 0, 0)
_ERROR: Final = StatusCode.ERROR
_STATUSES: Final = {code: Status(code) for code in StatusCode}
_SCHEMA: Final = re.compile(r"https?://[a-z0-9.-]{1,100}(?:/[A-Za-z0-9._/-]{0,100})?")


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
        self._resource = resource
        self._resources: dict[int, tuple[Resource, Resource]] = {}
        self._tags: dict[tuple[int, str], tuple[Tags, ContentFilter, Tags, dict[str, Any]]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope, InstrumentationScope]] = {}

    def forget(self) -> None:
        """Recreate the resource, because a forked child is another process."""
        self._resources.clear()

    def tags(self, span: ReadableSpan) -> Tags:
        """The guarded tags of a span, always including the three required ones."""
        state = state_of(span)
        return self._tagged(span, state, self._content_filter(state))[0]

    def _content_filter(self, state: SpanState | None) -> ContentFilter:
        return self._guard.content_filter(state.tags.tenant if state is not None else None)

    def _tagged(
        self, span: ReadableSpan, state: SpanState | None, content_filter: ContentFilter
    ) -> tuple[Tags, dict[str, Any]]:
        """The tags of a span and their guarded attributes, cached because spans of one block share them."""
        found = state.effective if state is not None else EMPTY
        workflow = self._workflow(span, state)
        known = self._tags.get((id(found), workflow))
        if known is None or known[0] is not found or known[1] is not content_filter:
            # the default is for work that names no tenant, not for work bound to none
            tenant = semconv.UNKNOWN_TENANT if found.names_tenant else self._tenant
            filled = self._guard.tags(
                found,
                content_filter,
                {semconv.TENANT: tenant, semconv.WORKFLOW: workflow, semconv.AGENT: self._service},
            )
            if len(self._tags) >= _TAGS_KEPT:
                self._tags.clear()
            known = self._tags[id(found), workflow] = (found, content_filter, filled, dict(filled.attributes))
        return known[2], known[3]

    def _workflow(self, span: ReadableSpan, state: SpanState | None) -> str:
        """The default workflow: the guarded name of the span's local root."""
        root = state.root if state is not None else None
        if root is None or root.naming is None:
            return self._name(naming_of(span), "span")
        naming, workflow = root.workflow
        if naming is not root.naming:
            naming = root.naming
            workflow = self._name(naming, root.kind or "span")
            root.workflow = naming, workflow
        return workflow

    def _name(self, naming: Naming, kind: str) -> str:
        scope = self._guarded_scope(naming.scope)
        return self._guard.name(naming, scope.name if scope is not None else "", kind)

    def _guarded_scope(self, scope: InstrumentationScope | None) -> InstrumentationScope | None:
        known = self._scopes.get(id(scope), _NO_SCOPE)
        if known[0] is not scope:
            known = self._guard.safely(self._scope, _NO_SCOPE, scope)
        return known[1]

    def allows_text(self, tenant: str | None) -> bool:
        """Whether the policy allows content of `tenant` at the moment."""
        return self._guard.content_filter(tenant).mode != "none"

    def copy(self, span: ReadableSpan, events: Sequence[Event] | None = None) -> ReadableSpan:
        """A copy with guarded name, attributes, events (or only the given ones), links, status and
        resource.

        A part that cannot be guarded is dropped and counted; the rest of the span is kept.
        """
        state = state_of(span)
        guard, safely = self._guard, self._guard.safely
        content_filter = self._content_filter(state)
        scope = self._guarded_scope(span.instrumentation_scope)
        scope_name = scope.name if scope is not None else ""
        attributes: dict[str, Any] = safely(self._attributes, {}, span, content_filter, state)
        try:
            attributes.update(self._tagged(span, state, content_filter)[1])
        except Exception:
            guard.faulted()
        name = content_filter.words(
            guard.name(naming_of(span), scope_name, str(attributes.get(semconv.SPAN_KIND, "span")))
        )
        resource = self._resources.get(id(span.resource), _NO_PAIR)
        if resource[0] is not span.resource:
            resource = safely(self._guarded_resource, _NO_PAIR, span.resource)
        chosen, code = _events_of(span, events), span.status.status_code
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
        copy = GuardedCopy(
            name,
            self._context(span.context),
            self._context(span.parent),
            resource[1],
            attributes,
            copied,
            tuple([self._link(link, content_filter) for link in span.links]) if span._links else (),
            span.kind,
            None,
            _STATUSES[code]
            if code is not _ERROR
            else safely(self._status, _STATUSES[code], span, content_filter),
            span.start_time,
            span.end_time,
            scope,
        )
        copy.dropped = _dropped(span)
        return copy

    def _attributes(
        self, span: ReadableSpan, content_filter: ContentFilter, state: SpanState | None
    ) -> dict[str, Any]:
        # an ended span no longer changes: its attributes are read in place
        held = getattr(span._attributes, "_dict", None) if span.end_time is not None else None
        given = held if type(held) is dict else attributes_of(span)
        kept, removed = content_filter.attributes(
            given, state.declared if state is not None else NOTHING_DECLARED
        )
        if removed:
            kept[semconv.GUARD_REMOVED] = note(removed)
        kind = kept.get(semconv.TRACELOOP_KIND)
        observation = _TRACELOOP_KINDS.get(str(kind)) if kind is not None else None
        if observation is not None:  # Langfuse does not read traceloop.span.kind
            kept.setdefault(semconv.OBSERVATION_TYPE, observation)
        if state is not None and state.kind is not None and semconv.SPAN_KIND not in kept:
            # above the attribute limit the SDK drops the oldest attributes, which include the kind
            for key, value in semconv.KIND_ATTRIBUTES[state.kind].items():
                kept.setdefault(key, value)
        if state is not None and state.billing is not None:
            without_counted(kept, state)
        if state is not None and state.outcome is not None:
            without_failure(kept, state, span.status.status_code)
        return kept

    def _event(
        self, event: Event, content_filter: ContentFilter, scope: str, state: SpanState | None
    ) -> Event:
        given = plain(event.attributes)
        declared = given.get(semconv.DECLARED) == DECLARED_MARK
        name = content_filter.words(self._guard.event_name(event.name, scope, declared=declared))
        number = given.pop(semconv.FAILURE, None)
        attributes: dict[str, Any] = self._guard.safely(content_filter.event, {}, given)
        if number is not None or semconv.EXCEPTION_STACKTRACE in given:
            place = self._guard.safely(place_of_event, "", number, given, attributes, state)
            if place:
                attributes.setdefault(semconv.EXCEPTION_STACKTRACE, content_filter.place(place))
        return Event(name, attributes, event.timestamp)

    def _link(self, link: Link, content_filter: ContentFilter) -> Link:
        context = self._context(link.context)
        assert context is not None
        attributes: dict[str, Any] = self._guard.safely(content_filter.event, {}, plain(link.attributes))
        return Link(context, attributes)

    def _status(self, span: ReadableSpan, content_filter: ContentFilter) -> Status:
        description = content_filter.status(span.status.description, _with_exception_type(span))
        return Status(_ERROR, description or None)

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

    def _scope(self, scope: Any) -> tuple[InstrumentationScope, InstrumentationScope]:
        """A scope and its guarded copy, cached: scopes are few and shared."""
        content_filter = self._guard.content_filter(None)
        attributes = content_filter.attributes(scope.attributes or {})[0]
        name = content_filter.words(self._guard.label(scope.name, "scope"))
        version = content_filter.words(self._guard.label(scope.version or "", "version"))
        schema = _schema(scope.schema_url) or None
        guarded = InstrumentationScope(name, version, schema, cast("Attributes", attributes))
        if len(self._scopes) > 1024:
            self._scopes.clear()
        self._scopes[id(scope)] = scope, guarded
        return scope, guarded

    def _guarded_resource(self, resource: Resource) -> tuple[Resource, Resource]:
        """A resource and its guarded copy, cached: resources are few and shared."""
        merged = self._resource(resource)
        guarded = HashedResource(self._guard.resource(merged.attributes), _schema(merged.schema_url))
        if len(self._resources) > 64:
            self._resources.clear()
        self._resources[id(resource)] = resource, guarded
        return resource, guarded


class GuardedCopy(ReadableSpan):
    """A copy that keeps the original's dropped-attribute, event and link counts."""

    #: attributes, events and links
    dropped: tuple[int, ...] = _NONE_DROPPED

    @property
    def dropped_attributes(self) -> int:
        return self.dropped[0]

    @property
    def dropped_events(self) -> int:
        return self.dropped[1]

    @property
    def dropped_links(self) -> int:
        return self.dropped[2]


def _dropped(span: ReadableSpan) -> tuple[int, ...]:
    """The numbers of attributes, events and links that a span lost to its limits."""
    # bypass the properties, which check each type first
    limited: Any = (span._attributes, span._events, span._links)
    dropped: tuple[int, ...]
    try:
        dropped = limited[0].dropped, limited[1].dropped, limited[2].dropped
    except AttributeError:  # plain containers that the SDK has not limited
        dropped = tuple([getattr(part, "dropped", 0) for part in limited])
    return dropped if any(dropped) else _NONE_DROPPED


class HashedResource(Resource):
    """A resource with a cached hash: the SDK's serializes the resource to JSON each time, and the encoder
    hashes it for every span."""

    def __init__(self, attributes: Mapping[str, Any], schema_url: str | None = None) -> None:
        super().__init__(attributes, schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _schema(url: str | None) -> str:
    """The schema URL, if it is well-formed and the guard finds nothing in it."""
    return str(url) if url and _SCHEMA.fullmatch(url) and not find(url) else ""


def _events_of(span: ReadableSpan, chosen: Sequence[Event] | None) -> Sequence[Event]:
    """The chosen events, or all of the span's; `span.events` makes a copy even if there are none."""
    return chosen if chosen is not None else span.events if span._events else ()


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """A copy of a span's attributes; `span.attributes` wraps them in a proxy."""
    return plain(getattr(span, "_attributes", None) or span.attributes)


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy of a mapping of attributes. The SDK's mapping is written in Python: reading the dict it wraps
    takes a tenth of the time."""
    inner = getattr(attributes, "_dict", None)
    return inner.copy() if type(inner) is dict else dict(attributes or {})


def _with_exception_type(span: ReadableSpan) -> Mapping[str, object]:
    """The span's attributes, plus the exception type if only the exception event has it."""
    attributes = attributes_of(span)
    if semconv.ERROR_TYPE not in attributes:
        for event in reversed(span.events):
            if event.name == "exception" and event.attributes:
                attributes[semconv.ERROR_TYPE] = event.attributes.get(semconv.EXCEPTION_TYPE, "")
                break
    return attributes
