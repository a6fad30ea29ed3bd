"""Keep the interpreter from crashing where the garbage collector runs code that changes context variables.

Before Python 3.12 the collector runs within allocations, also within those of `ContextVar.set`, which copies
the map of the context's variables without a reference of its own. If a finalizer, such as the end of an
abandoned generator with an open block, sets a variable meanwhile, that map is freed while it is copied. So
finalizers first make a copy of the context, which refers to the map, and it is kept until the set is over.
A variable also keeps the value that was set last without a reference, and `reset` to no value leaves it as it
is: entering a context makes all variables look their values up again.
"""

from __future__ import annotations

import gc
import sys
from contextvars import Context, copy_context
from threading import get_ident
from typing import Any, Final


class _Collector:
    """The thread in a collection, 0 if there is none, and the copies that are kept, by thread."""

    __slots__ = ("changed", "copies", "thread")

    def __init__(self) -> None:
        self.thread = 0
        #: Whether finalizers have changed variables in this collection.
        self.changed = False
        self.copies: dict[int, list[Context]] = {}


_collector: Final = _Collector()


def changing() -> bool:
    """To be called before context variables are changed, in code that a finalizer may run.

    Returns whether it runs in a collection, so that the code that is interrupted may undo the change.
    """
    if _collector.thread:
        thread = get_ident()
        if _collector.thread == thread:
            _collector.changed = True
            _collector.copies.setdefault(thread, []).append(copy_context())
            return True
    elif _collector.copies:  # no set of this thread is interrupted any more
        _collector.copies.pop(get_ident(), None)
    return False


def _note_collection(phase: str, _: dict[str, Any]) -> None:
    _collector.thread = get_ident() if phase == "start" else 0
    if phase == "start" and _collector.copies:
        # those of other threads, which may have ended: their sets are over
        kept = _collector.copies.pop(_collector.thread, None)
        _collector.copies = {} if kept is None else {_collector.thread: kept}
    if _collector.changed:
        _collector.changed = False
        Context().run(int)


if sys.version_info < (3, 12):
    gc.callbacks.append(_note_collection)
