"""Guarded copies of resources and instrumentation scopes. They are few and shared, so copies are cached."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import Attributes

from somatrace.guard import Guard
from somatrace.guard.content_filter import ContentFilter
from somatrace.guard.redaction.redact import find

_MAX_SCOPES: Final = 1024
_MAX_RESOURCES: Final = 64
_SCHEMA: Final = re.compile(r"https?://[a-z0-9.-]{1,100}(?:/[A-Za-z0-9._/-]{0,100})?")


class GuardedScope(NamedTuple):
    """A scope's name, which decides about names of its spans, and the scope without a grant's terms."""

    name: str = ""
    scope: InstrumentationScope | None = None


_NO_SCOPE: Final = GuardedScope()
_NO_RESOURCE: Final = Resource({})


class ScopeCopier:
    """Makes guarded copies of scopes: one that holds for every tenant, and one per tenant with terms."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._nothing = guard.without_content()
        self._shared: dict[int, tuple[InstrumentationScope, GuardedScope]] = {}
        self._without_terms: dict[
            tuple[int, int], tuple[InstrumentationScope, ContentFilter, GuardedScope]
        ] = {}

    def shared(self, scope: InstrumentationScope | None) -> GuardedScope:
        """The guarded copy of a scope, before the terms of any tenant are removed."""
        if scope is None:
            return _NO_SCOPE
        known = self._shared.get(id(scope))
        if known is not None and known[0] is scope:
            return known[1]
        guarded = self._guard.safely(self._copy, _NO_SCOPE, scope)
        if guarded is _NO_SCOPE:  # a fault
            return guarded
        if len(self._shared) >= _MAX_SCOPES:
            self._shared.clear()
        self._shared[id(scope)] = scope, guarded
        return guarded

    def copy(self, scope: InstrumentationScope | None, content_filter: ContentFilter) -> GuardedScope:
        """The guarded copy of a scope for a span under `content_filter`."""
        known_to_all = self._shared.get(id(scope))  # fast path: most spans
        is_known = known_to_all is not None and known_to_all[0] is scope
        shared = known_to_all[1] if is_known and known_to_all is not None else self.shared(scope)
        if scope is None or not content_filter.terms.detectors:
            return shared
        # a grant that changes has another filter
        place = id(scope), id(content_filter)
        known = self._without_terms.get(place)
        if known is not None and known[0] is scope and known[1] is content_filter:
            return known[2]
        guarded = self._guard.safely(_reduced, GuardedScope(shared.name), shared, content_filter)
        if len(self._without_terms) >= _MAX_SCOPES:
            self._without_terms.clear()
        self._without_terms[place] = scope, content_filter, guarded
        return guarded

    def _copy(self, scope: Any) -> GuardedScope:
        attributes = self._nothing.attributes(scope.attributes or {})[0]
        name = self._guard.label(scope.name, "scope")
        version = self._guard.label(scope.version or "", "version")
        schema = _schema(scope.schema_url) or None
        return GuardedScope(name, InstrumentationScope(name, version, schema, cast("Attributes", attributes)))


class ResourceCopier:
    """Makes guarded copies of resources, merged with the process's own by `merge`."""

    def __init__(self, guard: Guard, merge: Callable[[Resource], Resource]) -> None:
        self._guard = guard
        self._merge = merge
        self._known: dict[int, tuple[Resource, Resource]] = {}

    def forget(self) -> None:
        """Recreate the copies, because a forked child is another process."""
        self._known.clear()

    def copy(self, resource: Resource) -> Resource:
        """The guarded copy of a resource; an empty one if it cannot be guarded."""
        known = self._known.get(id(resource))
        if known is not None and known[0] is resource:
            return known[1]
        return self._guard.safely(self._copy, _NO_RESOURCE, resource)

    def _copy(self, resource: Resource) -> Resource:
        merged = self._merge(resource)
        guarded = HashedResource(self._guard.resource(merged.attributes), _schema(merged.schema_url))
        if len(self._known) >= _MAX_RESOURCES:
            self._known.clear()
        self._known[id(resource)] = resource, guarded
        return guarded


class HashedResource(Resource):
    """A resource with a cached hash: the SDK's serializes the resource to JSON each time, and exporters of
    third-party processors hash it for every span."""

    def __init__(self, attributes: Mapping[str, Any], schema_url: str | None = None) -> None:
        super().__init__(attributes, schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def _reduced(shared: GuardedScope, content_filter: ContentFilter) -> GuardedScope:
    scope, terms = shared.scope, content_filter.terms
    if scope is None:
        return shared
    attributes = terms.mapping(dict(scope.attributes or {}))
    version, schema = terms.words(scope.version or ""), scope.schema_url or None
    return GuardedScope(
        shared.name,
        InstrumentationScope(terms.words(scope.name), version, schema, cast("Attributes", attributes)),
    )


def _schema(url: str | None) -> str:
    """The schema URL, if it is well-formed and the guard finds nothing in it."""
    return str(url) if url and _SCHEMA.fullmatch(url) and not find(url) else ""
