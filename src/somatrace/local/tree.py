"""The spans of a trace in the order they are read: parents first, whatever the sender made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the tree. `broken` says what is wrong above it: "" or "missing parent" or "cycle"."""

    span: Mapping[str, Any]
    depth: int
    children: int
    broken: str = ""


def lines(spans: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Depth first, siblings by start. Iterative: a hostile trace nests deeper than Python recurses.

    A span whose parent is not here stands at the top; a cycle is cut at its earliest span.
    """
    by_id = {
        span["span_id"]: span for span in sorted(spans, key=lambda span: (span["start_ns"], span["span_id"]))
    }
    children: dict[str, list[Mapping[str, Any]]] = {}
    tops: list[tuple[Mapping[str, Any], str]] = []
    for span in by_id.values():
        parent = span["parent_id"]
        if parent in by_id:
            children.setdefault(parent, []).append(span)
        else:
            tops.append((span, "missing parent" if parent else ""))
    found: list[Node] = []
    seen: set[str] = set()
    for top, broken in tops:
        _walk(top, broken, children, seen, found)
    for span in by_id.values():
        if span["span_id"] not in seen:
            _walk(span, "cycle", children, seen, found)
    return found


def _walk(
    top: Mapping[str, Any],
    broken: str,
    children: Mapping[str, list[Mapping[str, Any]]],
    seen: set[str],
    found: list[Node],
) -> None:
    pending = [(top, 0, broken)]
    seen.add(top["span_id"])
    while pending:
        span, depth, mark = pending.pop()
        below = children.get(span["span_id"], [])
        found.append(Node(span, depth, len(below), mark))
        for child in reversed(below):
            if child["span_id"] not in seen:
                seen.add(child["span_id"])
                pending.append((child, depth + 1, ""))
