"""Selection of the rows shown for a tree: the relevant ones, in bounded number."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from somatrace.local.trace_view.folding import FoldedSiblings, SiblingCursor, SpanLine
from somatrace.local.trace_view.span_tree import Node, SpanTree

__all__ = ["FoldedSiblings", "SpanLine"]

ROWS: Final = 200
#: unremarkable children of one span that are shown before the rest is folded
_PLAIN: Final = 20
#: a chosen span this deep is shown below an ancestor this far above it
_DEEP: Final = 40
_ABOVE: Final = 20


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """The requested view. `show` is "" (relevant branches open), "errors", "critical" or "all".

    `part` is a range of places among the children of `under`, excluding its end. `stored_matches` are the
    IDs of spans that contain the text to `find` in columns that only the store can search.
    """

    span: str = ""
    under: str = ""
    show: str = ""
    find: str = ""
    part: tuple[int, int] | None = None
    stored_matches: Collection[str] = frozenset()

    @property
    def is_filter(self) -> bool:
        """Whether only matching spans and their ancestors are shown."""
        return bool(self.find) or self.show in ("errors", "critical")


@dataclass(slots=True)
class TraceWindow:
    """The rows, the spans that match the search, and the node above the rows, if there is one."""

    rows: list[SpanLine | FoldedSiblings]
    found: list[Node] = field(default_factory=list)
    base: Node | None = None


def choose(tree: SpanTree, view: ViewRequest) -> TraceWindow:
    """The rows of `view`. A search or a filter shows matching spans with their ancestors."""
    chosen = tree.by_id.get(view.span)
    wanted = _wanted(tree, view)
    found = wanted if view.find else []
    base = _base(tree, view, chosen)
    if view.part is not None and (rows := below(tree, view)) is not None:
        parent = tree.by_id.get(view.under)
        return TraceWindow([SpanLine(parent, is_open=True), *rows] if parent else rows, found, parent)
    open_nodes = _above(wanted)
    chosen_path = {chosen, *chosen.above()} if chosen is not None else set()
    open_nodes |= chosen_path
    open_nodes.update([base] if base else tree.tops[:1])
    every = not view.is_filter and (view.show == "all" or len(tree.nodes) <= ROWS)
    walk = _Walk(
        {*wanted, *open_nodes},
        chosen_path,
        None if every else open_nodes,
        inside=_inside(tree, wanted) if view.is_filter else None,
        folds=not view.is_filter and view.show != "all",
    )
    return TraceWindow(walk.rows([base] if base else tree.tops), found, base)


def below(tree: SpanTree, view: ViewRequest) -> list[SpanLine | FoldedSiblings] | None:
    """Collapsed rows for the children of `view.under`, or `view.part` of them; None without such a span.

    In a branch with spans that match the filter only those and their ancestors, in others all.
    """
    parent = tree.by_id.get(view.under)
    if view.under and parent is None:
        return None
    children = parent.children if parent else tree.tops
    inside = _inside(tree, _wanted(tree, view)) if view.is_filter else None
    if inside is not None and not any(node in inside for node in children):
        inside = None
    start, stop = view.part or (0, len(children))
    frame = SiblingCursor(parent, children, inside)
    rows: list[SpanLine | FoldedSiblings] = []
    for node in children[start:stop]:
        if inside is not None and node not in inside:
            continue
        # a reader who requested a part of the children has seen that they are equal
        if len(rows) >= ROWS or (not start and inside is None and frame.is_folded(node, frozenset())):
            frame.folded.append(node)
            continue
        rows.extend(frame.unfold())
        rows.append(SpanLine(node, is_open=False))
    return [*rows, *frame.unfold()]


class _Walk:
    """Depth-first walk within `ROWS` rows; the rest is folded, except the path to the chosen span."""

    def __init__(
        self,
        important: set[Node],
        chosen_path: set[Node],
        open_nodes: set[Node] | None,
        *,
        inside: dict[Node, int] | None,
        folds: bool,
    ) -> None:
        """`open_nodes` None means all. `inside` counts matching spans in each branch under a filter; then
        only important nodes have rows.

        With `folds`, equal siblings that did not fail are folded behind the first.
        """
        self._folds = folds
        self._important = important
        self._chosen_path = chosen_path
        self._open = open_nodes
        self._inside = inside
        self._room = ROWS - len(chosen_path)
        self._plain = ROWS if open_nodes is None else max(0, ROWS - len(important))

    def rows(self, tops: Sequence[Node]) -> list[SpanLine | FoldedSiblings]:
        rows: list[SpanLine | FoldedSiblings] = []
        frames = [SiblingCursor(tops[0].parent if tops else None, tops, self._inside)]
        while frames:
            frame = frames[-1]
            if frame.next == len(frame.children):
                rows.extend(frame.unfold())
                frames.pop()
                continue
            node = frame.children[frame.next]
            frame.next += 1
            if self._inside is not None and node not in self._important:
                continue
            equal = self._folds and frame.is_folded(node, self._chosen_path)
            if equal or not self._has_room(node, frame):
                frame.folded.append(node)
                continue
            rows.extend(frame.unfold())
            opened = bool(node.children) and self._opens(node)
            rows.append(SpanLine(node, opened))
            if opened:
                frames.append(SiblingCursor(node, node.children, self._inside))
        return rows

    def _has_room(self, node: Node, frame: SiblingCursor) -> bool:
        if node in self._chosen_path:
            return True
        if self._room <= 0:
            return False
        if node not in self._important:
            if self._open is not None and (frame.plain >= _PLAIN or self._plain <= 0):
                return False
            frame.plain += 1
            self._plain -= 1
        self._room -= 1
        return True

    def _opens(self, node: Node) -> bool:
        if node in self._chosen_path:
            return True
        return self._room > 0 and (self._open is None or node in self._open)


def _wanted(tree: SpanTree, view: ViewRequest) -> list[Node]:
    if view.find:
        return list(matching(tree, view))
    if view.show == "critical":
        return tree.critical
    if view.show == "errors":
        return tree.failed
    both = list(dict.fromkeys([*tree.failed, *tree.critical]))
    return both if len(both) <= ROWS // 2 else tree.failed


def _above(nodes: Iterable[Node]) -> set[Node]:
    """All ancestors of `nodes`; each is visited once, at any depth."""
    found: set[Node] = set()
    for node in nodes:
        for above in node.above():
            if above in found:
                break
            found.add(above)
    return found


def _inside(tree: SpanTree, nodes: Iterable[Node]) -> dict[Node, int]:
    """The number of `nodes` in each branch that has any."""
    found = dict.fromkeys(nodes, 1)
    for node in reversed(tree.nodes):
        if node.parent is not None and (count := found.get(node)):
            found[node.parent] = found.get(node.parent, 0) + count
    return found


def matching(tree: SpanTree, view: ViewRequest) -> Iterator[Node]:
    """The spans that match the search text."""
    needle = view.find.casefold()
    return (
        node
        for node in tree.nodes
        if node.span.span_id in view.stored_matches
        or any(needle in value.casefold() for value in _texts(node) if value)
    )


def _texts(node: Node) -> tuple[str | None, ...]:
    span = node.span
    return span.name, span.span_id, span.type, span.service, span.agent_id, span.model


def _base(tree: SpanTree, view: ViewRequest, chosen: Node | None) -> Node | None:
    """The node at which the window begins, or None for the root."""
    if view.under in tree.by_id:
        return tree.by_id[view.under]
    if chosen is not None and chosen.depth > _DEEP:
        return next(itertools.islice(chosen.above(), _ABOVE - 1, None))
    return None
