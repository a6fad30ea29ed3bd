"""Rows, and siblings that one row stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from somatrace.local.trace_view.span_tree import Node

#: siblings on end with the same name and kind, from which on only the first is shown
_EQUAL: Final = 5


class SpanLine(NamedTuple):
    """One span; `is_open` when its children follow."""

    node: Node
    is_open: bool


class FoldedSiblings(NamedTuple):
    """Siblings that are not shown: the children `start` to before `stop` of `parent` (None: the tops).

    Under a filter `spans` counts what fits it.
    """

    parent: Node | None
    start: int
    stop: int
    spans: int
    failed: int
    depth: int
    #: what all of them are called, when they are equal
    name: str = ""


@dataclass(slots=True)
class SiblingCursor:
    """Siblings on the way: which come next, and those that a row is to stand for.

    `inside` counts, under a filter, what fits it in each branch.
    """

    parent: Node | None
    children: Sequence[Node]
    inside: Mapping[Node, int] | None = None
    next: int = 0
    plain: int = 0
    folded: list[Node] = field(default_factory=list)
    #: the place behind a run of equal siblings whose first has its row
    equal_until: int = 0

    def unfold(self) -> list[SpanLine | FoldedSiblings]:
        """The row that stands for what was folded so far; a lone span's own, which takes no more room."""
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
        """Whether an equal sibling before it stands for `node`, a child here that is not `needed`."""
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
