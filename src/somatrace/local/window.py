"""Which rows of a tree are shown: those that matter, never more than a screen can bear."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from somatrace.local.tree import Node, Tree

ROWS: Final = 200
#: children of one span that nothing speaks for, before the rest is folded
_PLAIN: Final = 20
#: siblings on end with the same name and kind, from which on only the first is shown
_EQUAL: Final = 5
#: a chosen span this deep is shown below an ancestor this far above it
_DEEP: Final = 40
_ABOVE: Final = 20


class Line(NamedTuple):
    """One span; `is_open` when its children follow."""

    node: Node
    is_open: bool


class More(NamedTuple):
    """Siblings that are not shown: the children `start` to before `stop` of `parent` (None: the tops)."""

    parent: Node | None
    start: int
    stop: int
    spans: int
    failed: int
    depth: int
    #: what all of them are called, when they are equal
    name: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What is asked for. `show` is "" (what matters open), "errors", "critical" or "all"."""

    span: str = ""
    under: str = ""
    show: str = ""
    find: str = ""


@dataclass(slots=True)
class Window:
    """The rows, the spans that the search found, and the node above what is shown, if there is one."""

    rows: list[Line | More]
    found: list[Node] = field(default_factory=list)
    base: Node | None = None


@dataclass(slots=True)
class _Frame:
    parent: Node | None
    children: Sequence[Node]
    next: int = 0
    plain: int = 0
    folded: list[Node] = field(default_factory=list)
    #: the place behind a run of equal siblings whose first has its row
    equal_until: int = 0

    def unfold(self) -> list[More]:
        """The row that stands for what was folded so far."""
        if not self.folded:
            return []
        first, last = self.folded[0], self.folded[-1]
        spans, failed = sum(node.spans for node in self.folded), sum(node.failed for node in self.folded)
        equal = all(_alike(first, node) for node in self.folded)
        self.folded = []
        name = first.span.name if equal else ""
        return [More(self.parent, first.place, last.place + 1, spans, failed, first.depth, name)]

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


def choose(tree: Tree, view: View) -> Window:
    """The rows of `view`. A search or a filter shows what fits it, with what that is in."""
    chosen = tree.by_id.get(view.span)
    found = _matching(tree, view.find) if view.find else []
    wanted = _wanted(tree, view, found)
    only = bool(view.find) or view.show in ("errors", "critical")
    base = _base(tree, view, chosen)
    open_nodes = {above for node in wanted for above in node.above()}
    chosen_path = {chosen, *chosen.above()} if chosen is not None else set()
    open_nodes |= chosen_path
    open_nodes.update([base] if base else tree.tops[:1])
    every = not only and (view.show == "all" or len(tree.nodes) <= ROWS)
    walk = _Walk(
        wanted | open_nodes,
        chosen_path,
        None if every else open_nodes,
        only=only,
        folds=not only and view.show != "all",
    )
    return Window(walk.rows([base] if base else tree.tops), found, base)


def below(tree: Tree, under: str, start: int, stop: int | None = None) -> list[Line | More] | None:
    """Closed rows for the children of a span from `start` on; None when there is no such span."""
    parent = tree.by_id.get(under)
    if under and parent is None:
        return None
    children = parent.children if parent else tree.tops
    stop = min(len(children), stop or len(children))
    frame = _Frame(parent, children)
    rows: list[Line | More] = []
    for node in children[start:stop]:
        # who asked for a part of the children saw that they are equal
        if len(rows) >= ROWS or (not start and frame.is_folded(node, frozenset())):
            frame.folded.append(node)
            continue
        rows.extend(frame.unfold())
        rows.append(Line(node, is_open=False))
    return [*rows, *frame.unfold()]


class _Walk:
    """Depth first, within `ROWS`; what has no room is folded, but for the path to the chosen span."""

    def __init__(
        self,
        important: set[Node],
        chosen_path: set[Node],
        open_nodes: set[Node] | None,
        *,
        only: bool,
        folds: bool,
    ) -> None:
        """`open_nodes` None means all. With `only`, what is not important has no row.

        With `folds`, of equal siblings that did not fail the first stands for all.
        """
        self._folds = folds
        self._important = important
        self._chosen_path = chosen_path
        self._open = open_nodes
        self._only = only
        self._room = ROWS - len(chosen_path)
        self._plain = ROWS if open_nodes is None else max(0, ROWS - len(important))

    def rows(self, tops: Sequence[Node]) -> list[Line | More]:
        rows: list[Line | More] = []
        frames = [_Frame(tops[0].parent if tops else None, tops)]
        while frames:
            frame = frames[-1]
            if frame.next == len(frame.children):
                rows.extend(frame.unfold())
                frames.pop()
                continue
            node = frame.children[frame.next]
            frame.next += 1
            if self._only and node not in self._important:
                continue
            equal = self._folds and frame.is_folded(node, self._chosen_path)
            if equal or not self._has_room(node, frame):
                frame.folded.append(node)
                continue
            rows.extend(frame.unfold())
            opened = bool(node.children) and self._opens(node)
            rows.append(Line(node, opened))
            if opened:
                frames.append(_Frame(node, node.children))
        return rows

    def _has_room(self, node: Node, frame: _Frame) -> bool:
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


def _wanted(tree: Tree, view: View, found: Iterable[Node]) -> set[Node]:
    if view.find:
        return set(found)
    if view.show == "critical":
        return set(tree.critical)
    failed = set(tree.failed)
    if view.show == "errors":
        return failed
    both = failed.union(tree.critical)
    return both if len(both) <= ROWS // 2 else failed


def _matching(tree: Tree, text: str) -> list[Node]:
    needle = text.casefold()
    return [node for node in tree.nodes if any(needle in value.casefold() for value in _texts(node) if value)]


def _texts(node: Node) -> tuple[str | None, ...]:
    span = node.span
    return span.name, span.span_id, span.type, span.service, span.agent_id, span.model


def _base(tree: Tree, view: View, chosen: Node | None) -> Node | None:
    """Where the window begins when that is not the top."""
    if view.under in tree.by_id:
        return tree.by_id[view.under]
    if chosen is not None and chosen.depth > _DEEP:
        return next(itertools.islice(chosen.above(), _ABOVE - 1, None))
    return None
