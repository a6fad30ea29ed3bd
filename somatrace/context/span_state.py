"""Per-span state, attached at start and used at end, whatever the span's attributes say."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from somatrace.context.below_root import BelowRoot
from somatrace.context.exception_identity import ExceptionIdentity
from somatrace.context.tags import Tags

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

#: The Python attribute of a live span that holds its state.
_ATTRIBUTE: Final = "_somatrace_state"
#: Marks an event as declared by the program, under `semconv.DECLARED`: a random number known only to this
#: process, because event attributes can come from untrusted input.
DECLARED_MARK: Final = int.from_bytes(os.urandom(7))
#: Open spans above a span that it refers to. Work that is handed on from span to span without an end would
#: otherwise keep all of them.
MAX_ABOVE: Final = 128


class Naming(NamedTuple):
    """A span's name as its maker gave it, and the parts that decide whether it may leave."""

    name: str
    #: the span's instrumentation scope
    scope: Any = None
    is_server: bool = False
    is_client: bool = False
    #: whether it has attributes of an HTTP request; the method and the route template among them
    is_http: bool = False
    method: str = ""
    route: str = ""
    is_websocket: bool = False
    is_rpc: bool = False
    #: whether other code has named it since `span` did
    is_renamed: bool = False
    #: whether a span that still has this name has this naming
    is_plain: bool = False


class NotedFailure(NamedTuple):
    """A recorded exception: its place, and whether its text is of another tenant than the span."""

    place: str
    foreign: bool


class SpanOwner:
    """What a pipeline gives the spans that are started for it in one process."""

    __slots__ = ("allows_text", "on_event")

    def __init__(
        self,
        on_event: Callable[[Any, str, Mapping[str, Any], int], None],
        allows_text: Callable[[str | None], bool],
    ) -> None:
        #: Receives each event that the program declares: the span, its name, fields and time in nanoseconds.
        self.on_event = on_event
        #: Tells whether the policy of a tenant allows content at the moment.
        self.allows_text = allows_text


class Around(NamedTuple):
    """The parent of a span: in any process, and its state if it is in this one."""

    context: SpanContext | None
    state: SpanState | None


class SpanState:
    """The tags of a span, its local root, and the process it was started in.

    `tags` are those bound when the span started; policy and cost depend on them alone. `label` holds
    tags bound later inside a local root that names no tenant: it is used for grouping, never for policy.
    """

    # the defaults are those of the class, because a state is made for each span, and few spans differ

    #: Tags bound later, inside a local root that names no tenant.
    label: Tags | None = None
    #: Whether spans below inherit the label: it is a request, which has one tenant.
    shares_label = False
    #: Of a local root, as far as it is known: it names the workflow of the spans below it.
    naming: Naming | None = None
    #: The workflow, as the guard has named it, and the naming or tag that it was made from.
    workflow: tuple[Naming | Tags | None, str] = (None, "")
    #: Other tenants of the spans around it, whose names it may have inherited.
    enclosing: tuple[str, ...] = ()
    kind: str | None = None
    #: The name given to `span`; another name of the span is not the program's.
    name: str | None = None
    spent_ns = 0
    #: False for spans created by a listener, which would otherwise trigger it endlessly.
    notifies_listeners = True
    #: Of the pipeline that it was started for; another one after a fork.
    owner: SpanOwner | None = None
    #: Attributes passed to `span`, as stored on it: another value under the same key is not declared.
    declared: Mapping[str, Any] = MappingProxyType({})
    #: The recorded exceptions, the first ones if there are many.
    failures: tuple[NotedFailure, ...] = ()
    last_failure: ExceptionIdentity | None = None
    #: Whether texts of the span may quote an exception of another tenant's work.
    holds_foreign_text = False
    #: Of a control-flow exception that was recorded: its id, and hashes of the texts that describe it.
    outcome: tuple[int, frozenset[int]] | None = None
    #: Whether it is of a model's answer that has failed: it is no success, whatever an instrumentor says.
    answer_failed = False
    #: The nearest span above it in this process that was open when it started, at most `MAX_ABOVE` deep.
    above: SpanState | None = None
    depth = 0
    ended = False
    #: Of a span that is left out of its trace: its parent, which is that of the spans below it too.
    left_out: Around | None = None
    #: Of a local root: the workflow and the tenants below it.
    below: BelowRoot | None = None
    #: The workflow that had named the trace when the span ended.
    ended_in: Tags | None = None
    #: Whose usage it has, kept by `pipeline.billed_usage`.
    billing: Any = None

    def __init__(self, tags: Tags, root: SpanState | None) -> None:
        self.tags = tags
        self._root = root  # not itself: a cycle would have to be collected as garbage
        if root is None:
            self.below = BelowRoot(tags)

    @property
    def root(self) -> SpanState:
        """The state of its local root, which is itself for one."""
        return self if self._root is None else self._root

    def allows_text(self, tenant: str | None) -> bool:
        """Whether the policy of a tenant allows content at the moment."""
        return self.owner is not None and self.owner.allows_text(tenant)

    def put_below(self, upper: SpanState) -> None:
        """Record the local parent, or the nearest span above it that is still open."""
        above: SpanState | None = upper
        while above is not None and above.ended:
            above = above.above
        if above is not None and above.depth < MAX_ABOVE:
            self.above, self.depth = above, above.depth + 1

    def note_below(self, tags: Tags) -> None:
        """Note the tags of a span or block that starts below this local root while it is open."""
        if self.below is not None and not self.ended:
            self.below.note(tags)

    @property
    def trace_workflow(self) -> Tags | None:
        """Tags with the workflow that names the trace: the first one, if it began before the span ended."""
        if self.ended:
            return self.ended_in
        return self.root.below.workflow if self.root.below is not None else None

    def end(self) -> None:
        """Mark the span as ended. A workflow that begins later does not name it."""
        if not self.ended:
            below = self.below if self._root is None else self._root.below
            self.ended_in = None if below is None else below.workflow
            self.ended = True

    def set_label(self, tags: Tags) -> None:
        """Keep tags bound while this local root is open, for grouping. The first tenant wins.

        A root that was started for a tenant, or explicitly for none, keeps its own.
        """
        self.note_below(tags)
        if tags.tenant is None or self.tags.names_tenant:
            return
        if self.label is None or self.label.tenant == tags.tenant:
            self.label = self.tags.over(Tags(tags.bound))

    def set_route(self, route: str) -> None:
        """Record the route of a local root that is a request."""
        if self.root is self and self.naming is not None:
            self.naming = self.naming._replace(route=route)

    def has_noted(self, error: BaseException) -> bool:
        """Whether this exception is the last one recorded on the span."""
        return self.last_failure is not None and self.last_failure.is_of(error)

    def other_tenants(self) -> Collection[str | None]:
        """Other tenants whose names the span may carry: of spans around it, of the root's label, and of the
        workflow that names the trace."""
        root = self if self._root is None else self._root
        own = self.tags.tenant
        namer = None if root.below is None else root.below.namer
        if not self.enclosing and root.label is None and (namer is None or namer == own):
            return ()
        return {*self.enclosing, namer, None if root.label is None else root.label.tenant} - {None, own}

    @property
    def effective(self) -> Tags:
        """The tags to pass on: those at the start, or the label if no tenant was named then."""
        return self.label if self.label is not None and not self.tags.names_tenant else self.tags

    @property
    def shown(self) -> Tags:
        """The tags to show: the effective ones, of a local root without a tenant with the one below it."""
        if self.below is None or self.tags.names_tenant:
            return self.effective
        return self.below.shown(self.effective)


def state_of(span: object) -> SpanState | None:
    """The state attached to `span`; None for a span that was not started through somatrace."""
    state: SpanState | None = getattr(span, _ATTRIBUTE, None)
    return state


def attach_state(span: object, state: SpanState) -> None:
    """Attach `state` to a starting span, for `state_of`."""
    setattr(span, _ATTRIBUTE, state)
