"""Keep the interpreter from crashing where the garbage collector runs code that changes context variables.

Before Python 3.12 the collector runs within allocations, also within those of `ContextVar.set`, which copies
the map of the context's variables without a reference of its own. If a finalizer, such as the end of an
abandoned generator with an open block, sets a variable meanwhile, that map is freed while it is copied. So
finalizers first make a copy of the context, which refers to the map, and it is kept until the set is over.
A variable also keeps the value that was set last without a reference, and `reset` to no value leaves it as it
is: entering a context makes all variables look their values up again.

Finalizers of other libraries change variables too, without such a copy: litellm's, of streams that nobody has
read to the end, on any thread. So each change of ours holds one of the context that it begins in, and so does
each change through OpenTelemetry's API (`held_attach`).

What the collector calls is made of functions in C alone. With one in Python, other threads could run within
any allocation, and `list(mapping.items())` in the program could fail as the mapping changes meanwhile.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from typing import Final, Generic, TypeVar, cast

T = TypeVar("T")

#: One `ContextVar.set` allocates up to ten times, so that up to ten collections interrupt it.
_COLLECTIONS: Final = 16


class _Running(set[str]):
    """Not empty during a collection: the collector sets `start` and `stop` to a dictionary."""

    start = property(None, set.update)
    stop = property(None, set.difference_update)


class _Collecting(threading.local):
    """What a thread keeps: `start` of its last collection, and copies of contexts by collection.

    Without `__init__`, which the collector would call in each thread.
    """

    start: object = None
    copies: deque[tuple[object, list[Context]]] | None = None


_running: Final = _Running()
#: The last "start" and "stop" of all threads.
_phases: Final[dict[str, object]] = {}
_collecting: Final = _Collecting()
#: The threads that keep copies.
_keeping: Final[set[int]] = set()


def changing() -> bool:
    """To be called before context variables are changed, in code that a finalizer may run.

    Returns whether it runs in a collection, so that the code that is interrupted may undo the change.
    """
    if _running:
        collection = _phases.get("start")
        if _collecting.start is collection:
            copies = _collecting.copies
            if copies is None:
                copies = _collecting.copies = deque(maxlen=_COLLECTIONS)
                _keeping.add(threading.get_ident())
            if not copies or copies[-1][0] is not collection:
                copies.append((collection, []))
            copies[-1][1].append(copy_context())
            return True
    elif _keeping and threading.get_ident() in _keeping:  # no set of this thread is interrupted any more
        _keeping.discard(threading.get_ident())
        _collecting.copies = None
    return False


class _HeldVariable(Generic[T]):
    """A context variable whose changes do not depend on what finalizers change meanwhile."""

    def __init__(self, variable: ContextVar[T]) -> None:
        self.get = variable.get
        self._variable = variable

    def set(self, value: T) -> Token[T]:
        _held = copy_context()  # mostly of memory that is at hand, so that it is not interrupted itself
        return self._variable.set(value)

    def reset(self, token: Token[T]) -> None:
        _held = copy_context()
        self._variable.reset(token)


def context_variable(name: str, default: T) -> ContextVar[T]:
    """A context variable, to be used for all of somatrace's."""
    variable = ContextVar(name, default=default)
    return variable if sys.version_info >= (3, 12) else cast("ContextVar[T]", _HeldVariable(variable))


if sys.version_info < (3, 12):
    gc.callbacks += [
        _phases.__setitem__,
        partial(setattr, _collecting),
        # last: it says that the others are up to date; the context is entered for the variables
        partial(Context().run, cast("Callable[..., None]", setattr), _running),
    ]
