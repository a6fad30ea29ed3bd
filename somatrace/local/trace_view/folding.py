"""Rows of the trace tree, and folding of siblings into one row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from somatrace.local.trace_view.span_tree import Node

#: consecutive siblings with the same name and kind, from which on only the first is shown
_EQUAL: Final = 5


class SpanLine(NamedTuple):
    """The row of one span; `is_open` if its children follow."""

    node: Node
    is_open: bool


class FoldedSiblings(NamedTuple):
    """Hidden siblings: the children `start` to before `stop` of `parent` (None: the root nodes).

    Under a filter, `spans` counts only matching spans.
    """

    parent: Node | None
    start: int
    stop: int
    spans: int
    failed: int
    depth: int
    #: their common name, if they are equal
    name: str = ""


@dataclass(slots=True)
class SiblingCursor:
    """Position in a list of siblings, with those waiting to be folded into one row.

    Under a filter, `inside` counts the matching spans in each branch.
    """

    parent: Node | None
    children: Sequence[Node]
    inside: Mapping[Node, int] | None = None
    next: int = 0
    plain: int = 0
    folded: list[Node] = field(default_factory=list)
    #: the place after a run of equal siblings, of which the first has a row
    equal_until: int = 0

    def unfold(self) -> list[SpanLine | FoldedSiblings]:
        """The row for the siblings folded so far; a single one gets its own row, which is no larger."""
        if not self.folded:
            return []
        folded, self.folded = self.folded, []
        if len(folded) == 1:
            return [SpanLine(folded[0], is_open=False)]
        first, last = folded[0], folded[-1]
        if self.inside is None:
            spans, failed = sum(node.spans for node in folded), sum(node.failed for node in folded)
        else:
            spans, failed = sum(self.inside.get(node, 0) for node in folded), 0
        equal = all(_alike(first, node) for node in folded)
        name = first.span.name if equal else ""
        return [FoldedSiblings(self.parent, first.place, last.place + 1, spans, failed, first.depth, name)]

    def is_folded(self, node: Node, needed: Collection[Node]) -> bool:
        """Whether `node` is hidden behind an equal sibling before it; a `needed` one never is."""
        if node in needed or node.failed:
            self.equal_until = 0
            return False
        if node.place < self.equal_until:
            return True
        end = node.place + 1
        while end < len(self.children) and _alike(node, found := self.children[end]):
            if found in needed or found.failed:
                break
            end += 1
        self.equal_until = end if end - node.place >= _EQUAL else 0
        return False


def _alike(one: Node, other: Node) -> bool:
    return one.span.name == other.span.name and one.span.type == other.span.type
