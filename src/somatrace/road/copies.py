"""Guarded copies: an ended span is immutable, so what leaves is always a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes

from somatrace import names
from somatrace.guard import Guard, Mode
from somatrace.guard.wall import note
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

    def forget(self) -> None:
        """A forked child is another process: its resource is made anew."""
        self._resources.clear()

    def tags(self, span: ReadableSpan) -> Tags:
        """The tags of a span, the three required ones always among them."""
        stamp: Stamp | None = getattr(span, ATTRIBUTE, None)
        found = stamp.effective if stamp is not None else EMPTY
        workflow = stamp.root.root_name if stamp is not None else span.name
        return found.filled(
            tenant=self._tenant,
            workflow=self._guard.name(workflow or span.name, "workflow", "name", "none"),
            agent=self._service,
        )

    def copy(self, span: ReadableSpan) -> ReadableSpan:
        """The span as it may leave: name, attributes, events, links, status and resource guarded."""
        stamp: Stamp | None = getattr(span, ATTRIBUTE, None)
        tags = self.tags(span)
        mode = self._guard.mode(stamp.tags if stamp is not None else EMPTY)
        scope = span.instrumentation_scope
        attributes = self._attributes(span, tags, mode, stamp.declared if stamp is not None else frozenset())
        return ReadableSpan(
            name=self._guard.name(
                span.name, scope.name if scope else "", str(attributes.get(names.SPAN_KIND, "span")), mode
            ),
            context=span.context,
            parent=span.parent,
            resource=self._guarded_resource(span.resource),
            attributes=attributes,
            events=[self._event(event, mode) for event in span.events],
            links=[self._link(link, mode) for link in span.links],
            kind=span.kind,
            status=self._status(span, mode),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=scope,
        )

    def _attributes(
        self, span: ReadableSpan, tags: Tags, mode: Mode, declared: frozenset[str]
    ) -> dict[str, Any]:
        kept, removed = self._guard.attributes(span.attributes or {}, mode, declared)
        if removed:
            kept[names.GUARD_REMOVED] = note(removed)
        observed = _TRACELOOP_KINDS.get(str(kept.get(names.TRACELOOP_KIND)))
        if observed is not None:
            kept.setdefault(names.OBSERVATION_TYPE, observed)  # Langfuse does not read traceloop.span.kind
        kept.update(tags.attributes)
        return kept

    def _link(self, link: Link, mode: Mode) -> Link:
        _, attributes = self._guard.event("", link.attributes or {}, mode)
        return Link(link.context, cast("Attributes", attributes))

    def _event(self, event: Event, mode: Mode) -> Event:
        name, attributes = self._guard.event(event.name, event.attributes or {}, mode)
        return Event(name, cast("Attributes", attributes), event.timestamp)

    def _status(self, span: ReadableSpan, mode: Mode) -> Status:
        code = span.status.status_code
        if code is not StatusCode.ERROR:
            return Status(code)
        text = self._guard.status(_with_exception_type(span)) if mode == "none" else span.status.description
        return Status(code, text or None)

    def _guarded_resource(self, resource: Resource) -> Resource:
        """Resources are few and shared: each is guarded once."""
        found = self._resources.get(id(resource))
        if found is None or found[0] is not resource:
            merged = self._resource(resource)
            guarded = Resource(self._guard.resource(merged.attributes), merged.schema_url)  # type: ignore[arg-type]
            if len(self._resources) > 64:
                self._resources.clear()
            found = self._resources[id(resource)] = (resource, guarded)
        return found[1]


def _with_exception_type(span: ReadableSpan) -> Mapping[str, object]:
    """The span's attributes, and the exception's type where only the exception event has it."""
    attributes = dict(span.attributes or {})
    if names.ERROR_TYPE not in attributes:
        for event in reversed(span.events):
            if event.name == "exception" and event.attributes:
                attributes[names.ERROR_TYPE] = event.attributes.get(names.EXCEPTION_TYPE, "")
                break
    return attributes
