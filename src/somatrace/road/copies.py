"""Guarded copies: an ended span is immutable, so what leaves is always a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, TraceState
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes

from somatrace import names
from somatrace.guard import Guard
from somatrace.guard.wall import Judge, note
from somatrace.stamp import ATTRIBUTE, Stamp
from somatrace.tags import EMPTY, Tags

_TRACELOOP_KINDS = {kind: observation for observation, _, kind in names.KINDS.values() if kind is not None}


class Copier:
    """Makes guarded copies with the tags of their stamp, which win over any attribute of that name."""

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
        self._scopes: dict[InstrumentationScope, InstrumentationScope] = {}

    def forget(self) -> None:
        """A forked child is another process: its resource is made anew."""
        self._resources.clear()

    def tags(self, span: ReadableSpan) -> Tags:
        """The tags of a span, the three required ones always among them."""
        stamp: Stamp | None = getattr(span, ATTRIBUTE, None)
        found = stamp.effective if stamp is not None else EMPTY
        workflow = (stamp.root.root_name if stamp is not None else "") or span.name
        return found.filled(
            tenant=self._tenant, workflow=self._guard.name(workflow, "workflow", "name"), agent=self._service
        )

    def copy(self, span: ReadableSpan) -> ReadableSpan:
        """The span as it may leave: name, attributes, events, links, status and resource guarded."""
        stamp: Stamp | None = getattr(span, ATTRIBUTE, None)
        judge = self._guard.judge(stamp.tags.tenant if stamp is not None else None)
        scope = span.instrumentation_scope
        attributes = self._attributes(span, judge, stamp.declared if stamp is not None else frozenset())
        return ReadableSpan(
            name=self._guard.name(
                span.name, _scope_name(scope), str(attributes.get(names.SPAN_KIND, "span"))
            ),
            context=self._context(span.context),
            parent=self._context(span.parent),
            resource=self._guarded_resource(span.resource),
            attributes=attributes,
            events=[self._event(event, judge, _scope_name(scope)) for event in span.events],
            links=[self._link(link, judge) for link in span.links],
            kind=span.kind,
            status=self._status(span, judge),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=self._scope(scope),
        )

    def _attributes(self, span: ReadableSpan, judge: Judge, declared: frozenset[str]) -> dict[str, Any]:
        kept, removed = judge.attributes(span.attributes or {}, declared)
        if removed:
            kept[names.GUARD_REMOVED] = note(removed)
        observed = _TRACELOOP_KINDS.get(str(kept.get(names.TRACELOOP_KIND)))
        if observed is not None:
            kept.setdefault(names.OBSERVATION_TYPE, observed)  # Langfuse does not read traceloop.span.kind
        kept.update(self._guard.tags(self.tags(span).attributes))
        return kept

    def _event(self, event: Event, judge: Judge, scope: str) -> Event:
        name = self._guard.name(event.name, f"{scope} events", "event")
        return Event(name, cast("Attributes", judge.event(event.attributes or {})), event.timestamp)

    def _link(self, link: Link, judge: Judge) -> Link:
        context = self._context(link.context)
        assert context is not None
        return Link(context, cast("Attributes", judge.event(link.attributes or {})))

    def _status(self, span: ReadableSpan, judge: Judge) -> Status:
        code = span.status.status_code
        if code is not StatusCode.ERROR:
            return Status(code)
        return Status(code, judge.status(span.status.description, _with_exception_type(span)) or None)

    def _context(self, context: SpanContext | None) -> SpanContext | None:
        """The context without what a tracestate may hold beside sampling."""
        if context is None or not context.trace_state:
            return context
        state = TraceState(self._guard.tracestate(context.trace_state))
        return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags, state)

    def _scope(self, scope: InstrumentationScope | None) -> InstrumentationScope | None:
        """Scopes are few and shared: each is guarded once."""
        if scope is None:
            return None
        found = self._scopes.get(scope)
        if found is None:
            attributes = self._guard.judge(None).attributes(scope.attributes or {})[0]
            name = self._guard.name(scope.name, "scope", "other")
            version = self._guard.name(scope.version or "", "version", "other")
            found = InstrumentationScope(name, version, scope.schema_url, cast("Attributes", attributes))
            if len(self._scopes) > 1024:
                self._scopes.clear()
            self._scopes[scope] = found
        return found

    def _guarded_resource(self, resource: Resource) -> Resource:
        """Resources are few and shared: each is guarded once."""
        found = self._resources.get(id(resource))
        if found is None or found[0] is not resource:
            merged = self._resource(resource)
            guarded = Resource(self._guard.resource(merged.attributes), merged.schema_url)
            if len(self._resources) > 64:
                self._resources.clear()
            found = self._resources[id(resource)] = (resource, guarded)
        return found[1]


def _scope_name(scope: InstrumentationScope | None) -> str:
    return scope.name if scope is not None else ""


def _with_exception_type(span: ReadableSpan) -> Mapping[str, object]:
    """The span's attributes, and the exception's type where only the exception event has it."""
    attributes = dict(span.attributes or {})
    if names.ERROR_TYPE not in attributes:
        for event in reversed(span.events):
            if event.name == "exception" and event.attributes:
                attributes[names.ERROR_TYPE] = event.attributes.get(names.EXCEPTION_TYPE, "")
                break
    return attributes
