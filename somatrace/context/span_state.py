"""Per-span state, attached at start and used at end, whatever the span's attributes say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from somatrace.context.tags import Tags

#: The Python attribute of a live span that holds its state.
_ATTRIBUTE: Final = "_somatrace_state"
#: Marks an event as declared by the program, under `semconv.DECLARED`: a random number known only to this
#: process, because event attributes can come from untrusted input.
DECLARED_MARK: Final = int.from_bytes(os.urandom(7))


class SpanState:
    """The tags of a span, its local root, and the process it was started in.

    `tags` are those bound when the span started; policy and cost depend on them alone. `label` holds
    tags bound later inside a local root that names no tenant: it is used for grouping, never for policy.
    """

    __slots__ = (
        "declared",
        "kind",
        "label",
        "notifies_listeners",
        "on_event",
        "pid",
        "root",
        "root_name",
        "shares_label",
        "spent_ns",
        "tags",
    )

    def __init__(self, tags: Tags, root: SpanState | None, *, shares_label: bool = False) -> None:
        self.tags = tags
        self.label: Tags | None = None
        self.root: SpanState = root if root is not None else self
        self.root_name = ""
        self.shares_label = shares_label
        self.pid = os.getpid()
        self.kind: str | None = None
        self.spent_ns = 0
        #: False for spans created by a listener, which would otherwise trigger it endlessly.
        self.notifies_listeners = True
        #: Receives each event that the program declares: the span, its name, fields and time in nanoseconds.
        self.on_event: Callable[[Any, str, Mapping[str, Any], int], None] | None = None
        #: Attributes passed to `span`, as stored on it: a different value under the same key is not declared.
        self.declared: Mapping[str, Any] = {}

    def set_label(self, tags: Tags) -> None:
        """Keep tags bound while this local root is open, for grouping. The first tenant wins.

        A root that was started for a tenant, or explicitly for none, keeps its own.
        """
        if tags.tenant is None or self.tags.names_tenant:
            return
        if self.label is None or self.label.tenant == tags.tenant:
            self.label = self.tags.over(Tags(tags.bound))

    @property
    def effective(self) -> Tags:
        """The tags to show: those at the start, or the label if no tenant was named then."""
        return self.label if self.label is not None and not self.tags.names_tenant else self.tags


def state_of(span: object) -> SpanState | None:
    """The state attached to `span`; None for a span that was not started through somatrace."""
    state: SpanState | None = getattr(span, _ATTRIBUTE, None)
    return state


def attach_state(span: object, state: SpanState) -> None:
    """Attach `state` to a starting span, for `state_of`."""
    setattr(span, _ATTRIBUTE, state)
