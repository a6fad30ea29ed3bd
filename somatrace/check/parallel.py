"""Work on several processors, by processes that begin as copies of this one."""

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

#: More copies than this wait for the disk rather than for a processor.
_MOST: Final = 8


def spread(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], least: int
) -> list[tuple[Result, bool]]:
    """`work` on contiguous parts of `items`, in order, and whether a copy of this process did it.

    There is one part for each processor, of no fewer than `least` items. What a copy fails at is done
    here, and so is everything where a process cannot be copied.
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
    """The copy's process id, and the end of the pipe that its result comes through."""
    reader, writer = os.pipe()
    try:
        with warnings.catch_warnings():
            # 3.12 warns of other threads' locks: the one other thread only waits for this one
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
    """What the copy found; None when it ended before it was done."""
    if copy is None:
        return None
    child, reader = copy
    with os.fdopen(reader, "rb") as results:
        content = results.read()
    _, status = os.waitpid(child, 0)
    # written by this very program a moment ago, through a pipe that nobody else holds
    return (pickle.loads(content), True) if status == 0 else None  # noqa: S301
