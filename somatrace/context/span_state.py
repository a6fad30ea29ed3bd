"""What is put on a span at its start and decides about it at its end, whatever its attributes say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from somatrace.context.tags import Tags

#: The attribute of a live span that holds its stamp.
ATTRIBUTE: Final = "_somatrace_stamp"
#: What marks an event as the program's own, under `names.DECLARED`: a number that only this process knows,
#: because attributes of events are made of what anybody says.
DECLARED_MARK: Final = int.from_bytes(os.urandom(7))


class Stamp:
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

    def __init__(self, tags: Tags, root: Stamp | None, *, shares_label: bool = False) -> None:
        self.tags = tags
        self.label: Tags | None = None
        self.root: Stamp = root if root is not None else self
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
