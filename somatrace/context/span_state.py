"""Per-span state, attached at start and used at end, whatever the span's attributes say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from somatrace.context.tags import Tags

#: The Python attribute under which a live span holds its state.
_ATTRIBUTE: Final = "_somatrace_state"
#: What marks an event as the program's own, under `semconv.DECLARED`: a number that only this process knows,
#: because attributes of events are made of what anybody says.
DECLARED_MARK: Final = int.from_bytes(os.urandom(7))


class SpanState:
    """For whom a span was started, and in which process.

    `tags` are those bound when the span started; policy and cost follow them alone. `label` holds
    what was bound later inside a local root that had no tenant: it groups, it opens nothing.
    """

    __slots__ = (
        "declared",
        "kind",
        "label",
        "pid",
        "root",
        "root_name",
        "shares_label",
        "spent_ns",
        "tags",
        "told",
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
        #: Listeners hear of it. A span that a listener makes itself would come back to it without end.
        self.told = True
        #: what the program gave `span`, as the span holds it: another value under such a key is not declared
        self.declared: Mapping[str, Any] = {}

    def labelled(self, tags: Tags) -> None:
        """Take over tags bound while this local root is open, for grouping. The first tenant stays."""
        if self.tags.tenant is None and (self.label is None or self.label.tenant in (None, tags.tenant)):
            self.label = Tags({**tags.bound, **self.tags.bound})

    @property
    def effective(self) -> Tags:
        """The tags to show: those of the start, or the label where no tenant was bound then."""
        return self.label if self.label is not None and self.tags.tenant is None else self.tags


def state_of(span: object) -> SpanState | None:
    """The state attached to `span`; None for a span that somatrace has not seen start."""
    found: SpanState | None = getattr(span, _ATTRIBUTE, None)
    return found


def attach_state(span: object, state: SpanState) -> None:
    """Attach `state` to a starting span, for `state_of`."""
    setattr(span, _ATTRIBUTE, state)
