"""Spread work over the processors with forked processes."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: With more processes than this, the disk is the bottleneck.
_MOST: Final = 8


def spread(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], least: int
) -> list[tuple[Result, bool]]:
    """The results of `work` on contiguous parts of `items`, in order, and whether a fork computed each.

    There is one part for each processor, of at least `least` items. If a fork fails or is not possible,
    this process does its part.
    """
    count = max(1, min(_processors(), len(items) // least))
    bounds = [len(items) * number // count for number in range(count + 1)]
    first, *others = [items[start:end] for start, end in pairwise(bounds)]
    copies = [_copy(work, part) for part in others]
    results = [(work(first), False)]
    for part, copy in zip(others, copies, strict=True):
        results.append(_received(copy) or (work(part), False))
    return results


def _processors() -> int:
    if sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST)


def _copy(work: Callable[[Sequence[Item]], Result], part: Sequence[Item]) -> tuple[int, int] | None:
    """The fork's process id, and the pipe from which its result is read."""
    reader, writer = os.pipe()
    try:
        with warnings.catch_warnings():
            # 3.12 warns about locks of other threads: the only other thread waits for this one
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        return None
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        with os.fdopen(writer, "wb") as out:
            pickle.dump(work(part), out, pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)


def _received(copy: tuple[int, int] | None) -> tuple[Result, bool] | None:
    """The fork's result; None if it ended early."""
    if copy is None:
        return None
    child, reader = copy
    with os.fdopen(reader, "rb") as results:
        content = results.read()
    _, status = os.waitpid(child, 0)
    # written by a fork of this program, through a pipe that no other process has
    return (pickle.loads(content), True) if status == 0 else None  # noqa: S301
