"""Lines of cells in columns, for reports on a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def table(lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Lines of cells in columns, those with a number in `right` aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()
