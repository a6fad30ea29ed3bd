"""What a span shares with the spans around it: the policy of its tenant, its scope, and its tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import is_
from threading import get_ident
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from somatrace import semconv
from somatrace.context.span_state import Naming, SpanState
from somatrace.context.tags import EMPTY, Tags
from somatrace.delivery.restricted import NEVER
from somatrace.guard import Guard
from somatrace.guard.content_filter import ContentFilter
from somatrace.guard.term_filter import TermFilter
from somatrace.guard.verdict_cache import MAX_KNOWN
from somatrace.pipeline.guarded_origins import ScopeCopier
from somatrace.pipeline.span_naming import naming_of

#: Number of tag sets whose attributes are cached. Each workflow has its own set (because of its request id),
#: so few are in use at once.
_TAGS_KEPT: Final = 1024


class Surroundings(NamedTuple):
    """What decides about a span besides what is on it."""

    content_filter: ContentFilter
    scope_name: str
    scope: InstrumentationScope | None
    #: The terms of other tenants whose names the span may carry.
    further: Sequence[TermFilter]
    tags: Tags
    #: The attributes of the tags: the same mapping for all spans that share them.
    tagged: Mapping[str, Any]
    #: The name of the tenant as it leaves.
    tenant: str


class GrantsInForce:
    """The grants under which spans were guarded, by tenants whose content may leave."""

    __slots__ = ("fingerprints", "hidden")

    def __init__(self) -> None:
        self.fingerprints: dict[str, str] = {}
        #: Tenants whose names may not leave as they are.
        self.hidden: set[str] = set()

    def add(self, tenant: str, fingerprint: str, shown: object) -> None:
        """Note a grant, and how the tenant's name leaves. Two grants of one tenant are none."""
        known = self.fingerprints.setdefault(tenant, fingerprint)
        if known != fingerprint:
            self.fingerprints[tenant] = NEVER
        if shown != tenant:
            self.hidden.add(tenant)


class _Batch:
    """The spans that one thread guards together, and the surroundings of the last of them."""

    __slots__ = ("grants", "is_closed", "last", "thread")

    def __init__(self, *, is_closed: bool) -> None:
        self.thread = get_ident()
        #: Whether all content is removed.
        self.is_closed = is_closed
        self.grants = GrantsInForce()
        self.last: tuple[tuple[object, ...], Surroundings] | None = None


class SurroundingsCopier:
    """Makes the surroundings of spans, mostly once for those that follow each other in a batch.

    Usable from any thread: processors of others read spans where they start and end.
    """

    def __init__(self, guard: Guard, service_name: str, default_tenant: str) -> None:
        self._guard = guard
        self._service = service_name
        self._tenant = default_tenant
        self._scopes = ScopeCopier(guard)
        self._tags: dict[
            tuple[int, str], tuple[Tags, ContentFilter, Sequence[TermFilter], Tags, dict[str, Any]]
        ] = {}
        self._workflows: dict[tuple[str, bool], str] = {}
        self._batch: _Batch | None = None

    @contextmanager
    def batch(self, *, closed: bool = False) -> Iterator[GrantsInForce]:
        """Ask the policy once for spans of this thread that follow each other in the block.

        Yields the grants under which they are guarded. With `closed`, content is removed as for tenants
        without one.
        """
        batch = self._batch = _Batch(is_closed=closed)
        try:
            yield batch.grants
        finally:
            self._batch = None

    def of(self, span: ReadableSpan, state: SpanState | None) -> Surroundings:
        """The surroundings of a span, made once for spans with the same causes that follow each other."""
        batch = self._batch
        if batch is None or batch.thread != get_ident():
            return self._made(span, state)
        if state is None or not state.tags.names_tenant or state.enclosing or state.holds_foreign_text:
            return self._made(span, state, batch)
        root = state.root
        causes = (
            state.tags,
            root,
            root.label,
            state.label,
            state.trace_workflow or root.naming,
            span._instrumentation_scope,
            None if root.below is None else root.below.namer,
        )
        if batch.last is not None and all(map(is_, causes, batch.last[0])):
            return batch.last[1]
        made = self._made(span, state, batch)
        batch.last = causes, made
        return made

    def _made(self, span: ReadableSpan, state: SpanState | None, batch: _Batch | None = None) -> Surroundings:
        content_filter = self._content_filter(state)
        shows_content = content_filter.grant.shows_content
        if shows_content and batch is not None and batch.is_closed:
            content_filter = content_filter.closed
        scope_name, scope = self._scopes.copy(span._instrumentation_scope, content_filter)
        further = self._further_terms(state)
        try:
            tags, tagged = self._tagged(span, state, content_filter, further)
        except Exception:
            self._guard.faulted()
            tags, tagged = EMPTY, {}
        tenant = state.tags.tenant if state is not None else None
        if shows_content and batch is not None and not batch.is_closed and tenant is not None:
            batch.grants.add(tenant, content_filter.fingerprint, tags.get(semconv.TENANT))
        shown = str(tags.get(semconv.TENANT, semconv.UNKNOWN_TENANT))
        return Surroundings(content_filter, scope_name, scope, further, tags, tagged, shown)

    def tenant(self, name: str | None) -> str:
        """A tenant's name as it leaves, or that of spans without one."""
        if name is None:
            return self._tenant
        tags = self._guard.tags(Tags({semconv.TENANT: name}), self._guard.content_filter(name), {})
        return str(tags.get(semconv.TENANT, semconv.UNKNOWN_TENANT))

    def _content_filter(self, state: SpanState | None) -> ContentFilter:
        found = self._guard.content_filter(state.tags.tenant if state is not None else None)
        return found.closed if state is not None and state.holds_foreign_text else found

    def _further_terms(self, state: SpanState | None) -> Sequence[TermFilter]:
        """The terms of other tenants whose names a span may carry."""
        others = state.other_tenants() if state is not None else ()
        if not others:
            return ()
        found = (self._guard.content_filter(tenant).terms for tenant in sorted(map(str, others)))
        return [terms for terms in found if terms]

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
                name = str(
                    self._guard.tags(EMPTY, content_filter, {semconv.WORKFLOW: name})[semconv.WORKFLOW]
                )
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

    def _name(self, naming: Naming, kind: str) -> str:
        return self._guard.name(naming, self._scopes.shared(naming.scope).name, kind)
