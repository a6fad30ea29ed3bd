"""The spans of a trace as a tree with sums over each branch, for well-formed and malformed traces.

Nothing here recurses: a hostile trace may nest deeper than Python's recursion limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from somatrace.local.store.definitions import USAGE_TYPES


class LightSpan(NamedTuple):
    """The columns of a span that a tree needs."""

    span_id: str
    parent_id: str | None
    name: str
    type: str
    level: str
    start_ns: int
    end_ns: int
    input_tokens: int | None
    output_tokens: int | None
    service: str | None
    agent_id: str | None
    model: str | None
    status: str


#: shared, since most spans have no children and an empty list would take as much memory as the span
_NO_CHILDREN: Final[list[Node]] = []


@dataclass(slots=True, eq=False)
class Node:
    """A span in the tree. `defect` is "", "cycle", or "missing parent" for a node of which only the ID
    is known, from its children.

    `spans`, `failed` and the tokens cover the whole branch; tokens are those of model calls and agents.
    """

    span: LightSpan
    parent: Node | None = None
    children: list[Node] = field(default_factory=lambda: _NO_CHILDREN)
    defect: str = ""
    depth: int = 0
    position: int = 0
    place: int = 0
    spans: int = 1
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    self_ns: int = 0
    critical: bool = False

    def above(self) -> Iterator[Node]:
        """The ancestors, from the parent to the root."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True)
class SpanTree:
    """All nodes: `tops` are the root nodes, `nodes` are in depth-first order, siblings by start.

    They include `missing` parents that never arrived.
    """

    tops: list[Node]
    nodes: list[Node]
    by_id: dict[str, Node]
    failed: list[Node]
    critical: list[Node]
    missing: int = 0

    def dismantle(self) -> None:
        """Break the reference cycles between nodes, so that they are freed at once; empties the tree."""
        for node in self.nodes:
            node.parent, node.children = None, _NO_CHILDREN
        self.tops, self.nodes, self.by_id, self.failed, self.critical = [], [], {}, [], []


def build(spans: Iterable[LightSpan]) -> SpanTree:
    """Build the tree of spans ordered by start.

    Spans whose parent is missing go below a placeholder node; a cycle is cut at its earliest span.
    """
    by_id = {span.span_id: Node(span) for span in spans}
    tops: list[Node] = []
    missing: dict[str, Node] = {}
    for node in by_id.values():
        parent_id = node.span.parent_id
        above = by_id.get(parent_id) if parent_id else None
        if above is None and parent_id:
            above = missing.get(parent_id)
            if above is None:
                above = missing[parent_id] = _never_arrived(parent_id, node.span)
                tops.append(above)
            above.span = above.span._replace(end_ns=max(above.span.end_ns, node.span.end_ns))
        if above is not None:
            node.parent = above
            if above.children:
                above.children.append(node)
            else:
                above.children = [node]
        else:
            tops.append(node)
    by_id.update(missing)
    ordered = _ordered(tops)
    if len(ordered) < len(by_id):
        for node in by_id.values():
            _cut(node, tops, ordered)
    for place, top in enumerate(tops):
        top.place = place
    _sum_up(ordered)
    failed = [node for node in ordered if node.span.level == "ERROR"]
    return SpanTree(tops, ordered, by_id, failed, _critical(tops), len(missing))


def _never_arrived(span_id: str, child: LightSpan) -> Node:
    """A placeholder for a parent that never arrived, starting with its first child."""
    span = LightSpan(
        span_id, None, "", "", "", child.start_ns, child.end_ns, None, None, None, None, None, "missing"
    )
    return Node(span, defect="missing parent", spans=0)


def _ordered(tops: Iterable[Node], first: int = 0) -> list[Node]:
    found: list[Node] = []
    pending = list(tops)[::-1]
    while pending:
        node = pending.pop()
        found.append(node)
        # counted from one, so that zero means not reached
        node.position = first + len(found)
        if node.children:
            for place, child in enumerate(node.children):
                child.depth, child.place = node.depth + 1, place
            pending.extend(reversed(node.children))
    return found


def _cut(node: Node, tops: list[Node], ordered: list[Node]) -> None:
    """Make a node that no root reaches a root itself, with its descendants below it."""
    if node.position:
        return
    if node.parent is not None:
        node.parent.children.remove(node)
    node.parent, node.defect = None, "cycle"
    tops.append(node)
    ordered.extend(_ordered([node], len(ordered)))


def _sum_up(ordered: Sequence[Node]) -> None:
    """Sum each node's branch, in reverse order so that children come before their parents."""
    for node in reversed(ordered):
        span = node.span
        if span.level == "ERROR":
            node.failed += 1
        if span.type in USAGE_TYPES:
            node.input_tokens += span.input_tokens or 0
            node.output_tokens += span.output_tokens or 0
        node.self_ns = _self(node) if node.children else max(0, span.end_ns - span.start_ns)
        above = node.parent
        if above is not None:
            above.spans += node.spans
            above.failed += node.failed
            above.input_tokens += node.input_tokens
            above.output_tokens += node.output_tokens


def _self(node: Node) -> int:
    """The time during which no child was running."""
    start, end = node.span.start_ns, node.span.end_ns
    covered, reached = 0, start
    for child in node.children:
        begin, finish = max(child.span.start_ns, reached), min(child.span.end_ns, end)
        if finish > begin:
            covered += finish - begin
            reached = finish
    return max(0, end - start - covered)


def _critical(tops: list[Node]) -> list[Node]:
    """Mark and return the critical path: backward from the end, always the child that ended last."""
    found: list[Node] = []
    longest = max(tops, key=lambda node: node.span.end_ns - node.span.start_ns, default=None)
    pending = [(longest, longest.span.end_ns)] if longest else []
    while pending:
        node, limit = pending.pop()
        moment = limit
        node.critical = True
        found.append(node)
        for child in sorted(node.children, key=lambda child: child.span.end_ns, reverse=True):
            # a child that outlives its parent is cut at the parent's end
            end = min(child.span.end_ns, limit)
            if child.span.start_ns < end <= moment:
                pending.append((child, end))
                moment = child.span.start_ns
    return found
