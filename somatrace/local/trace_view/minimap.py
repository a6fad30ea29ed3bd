"""Minimap of a whole trace: columns of time, rows of depth, failures painted last."""

from __future__ import annotations

from typing import Final

from somatrace.local.trace_view.span_tree import Node, SpanTree

COLUMNS: Final = 600
DEPTHS: Final = 6
_KINDS: Final = ("", "other", "tool", "llm", "error")
_BARS: Final = {"GENERATION": "llm", "EMBEDDING": "llm", "TOOL": "tool", "RETRIEVER": "tool"}


def kind(node: Node) -> str:
    """The CSS class of a span's bar."""
    return "error" if node.span.level == "ERROR" else _BARS.get(node.span.type, "other")


def paths(tree: SpanTree, start_ns: int, end_ns: int) -> dict[str, str]:
    """An SVG path per class in a box of `COLUMNS` by `DEPTHS`: four shapes for any number of spans."""
    scale = COLUMNS / max(end_ns - start_ns, 1)
    rows = [bytearray(COLUMNS) for _ in range(DEPTHS)]
    layers: dict[str, list[Node]] = {name: [] for name in _KINDS}
    for node in tree.nodes:
        if not node.defect or node.defect != "missing parent":
            layers[kind(node)].append(node)
    for paint, layer in enumerate(layers.values()):
        full = bytes([paint]) * COLUMNS
        for node in layer:
            span, depth = node.span, node.depth
            first, last = int((span.start_ns - start_ns) * scale), int((span.end_ns - start_ns) * scale) + 1
            # comparisons, since min and max, four times for each of ten thousand spans, dominate the time
            if first >= COLUMNS:
                first = COLUMNS - 1
            if last > COLUMNS:
                last = COLUMNS
            elif last <= first:
                last = first + 1
            rows[depth if depth < DEPTHS else DEPTHS - 1][first:last] = full[first:last]
    found: dict[str, list[str]] = {}
    for depth, row in enumerate(rows):
        for paint, first, width in _runs(bytes(row[:COLUMNS])):
            found.setdefault(_KINDS[paint], []).append(f"M{first} {depth}h{width}v.8h-{width}z")
    return {name: "".join(parts) for name, parts in found.items()}


def _runs(row: bytes) -> list[tuple[int, int, int]]:
    """Runs of equal paint: its number, start and length; unpainted columns are left out."""
    found: list[tuple[int, int, int]] = []
    first = 0
    for column in range(1, len(row) + 1):
        if column == len(row) or row[column] != row[first]:
            if row[first]:
                found.append((row[first], first, column - first))
            first = column
    return found
