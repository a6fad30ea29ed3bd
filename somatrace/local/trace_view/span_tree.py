"""The spans of a trace as a tree, with sums over each branch, whatever the sender made of it.

Nothing here recurses: a hostile trace nests deeper than Python does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from somatrace.local.store.trace_summary import CALLS


class LightSpan(NamedTuple):
    """What a tree needs of a span; the fields are columns of the store."""

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


#: most spans have none, and a list of its own for each would weigh as much as the span
_NO_CHILDREN: Final[list[Node]] = []


@dataclass(slots=True, eq=False)
class Node:
    """A span in its place. `broken` says what is wrong: "", "cycle", or "missing parent", of which only
    the id is known, from its children.

    `spans`, `failed` and the tokens are of the whole branch; tokens are those of model calls.
    """

    span: LightSpan
    parent: Node | None = None
    children: list[Node] = field(default_factory=lambda: _NO_CHILDREN)
    broken: str = ""
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
        """The nodes this one is in, from the nearest to the top."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True)
class SpanTree:
    """All nodes: `tops` have nothing above them, `nodes` are depth first, siblings by start.

    Among them stand `missing` parents, which never arrived.
    """

    tops: list[Node]
    nodes: list[Node]
    by_id: dict[str, Node]
    failed: list[Node]
    critical: list[Node]
    missing: int = 0

    def take_apart(self) -> None:
        """Untie the nodes, so that each goes with its last reference; the tree is empty then."""
        for node in self.nodes:
            node.parent, node.children = None, _NO_CHILDREN
        self.tops, self.nodes, self.by_id, self.failed, self.critical = [], [], {}, [], []


def build(spans: Iterable[LightSpan]) -> SpanTree:
    """The tree of spans given by start.

    Spans whose parent is not here stand below one that says so; a cycle is cut at its earliest span.
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
    """What stands for a parent that only its children know, from the first of them on."""
    span = LightSpan(
        span_id, None, "", "", "", child.start_ns, child.end_ns, None, None, None, None, None, "missing"
    )
    return Node(span, broken="missing parent", spans=0)


def _ordered(tops: Iterable[Node], first: int = 0) -> list[Node]:
    found: list[Node] = []
    pending = list(tops)[::-1]
    while pending:
        node = pending.pop()
        found.append(node)
        # counted from one, so that nought means not reached
        node.position = first + len(found)
        if node.children:
            for place, child in enumerate(node.children):
                child.depth, child.place = node.depth + 1, place
            pending.extend(reversed(node.children))
    return found


def _cut(node: Node, tops: list[Node], ordered: list[Node]) -> None:
    """Make a span that no top leads to one of them; what hangs below it follows."""
    if node.position:
        return
    if node.parent is not None:
        node.parent.children.remove(node)
    node.parent, node.broken = None, "cycle"
    tops.append(node)
    ordered.extend(_ordered([node], len(ordered)))


def _sum_up(ordered: Sequence[Node]) -> None:
    """Give each node the sums of its branch, from the last to the first: what is below comes before."""
    for node in reversed(ordered):
        span = node.span
        if span.level == "ERROR":
            node.failed += 1
        if span.type in CALLS:
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
    """The time in which no child was under way."""
    start, end = node.span.start_ns, node.span.end_ns
    covered, reached = 0, start
    for child in node.children:
        begin, finish = max(child.span.start_ns, reached), min(child.span.end_ns, end)
        if finish > begin:
            covered += finish - begin
            reached = finish
    return max(0, end - start - covered)


def _critical(tops: list[Node]) -> list[Node]:
    """What the trace's end waited for, marked: from the end back, always the child that ended last."""
    found: list[Node] = []
    longest = max(tops, key=lambda node: node.span.end_ns - node.span.start_ns, default=None)
    pending = [(longest, longest.span.end_ns)] if longest else []
    while pending:
        node, limit = pending.pop()
        moment = limit
        node.critical = True
        found.append(node)
        for child in sorted(node.children, key=lambda child: child.span.end_ns, reverse=True):
            # one that outlives its parent is cut to it
            end = min(child.span.end_ns, limit)
            if child.span.start_ns < end <= moment:
                pending.append((child, end))
                moment = child.span.start_ns
    return found
