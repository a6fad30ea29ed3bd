"""The observers of the program's streams, and when they are notified."""

from __future__ import annotations

import weakref
from typing import Any, Final, Protocol


class Observes(Protocol):
    """Follows what the program reads of one stream."""

    #: Whether the stream is being read right now: reads inside are parts of that.
    busy: bool

    def item(self, item: Any) -> None:
        """The program has read `item`."""

    def ended(self, error: BaseException | None = None) -> None:
        """The stream is exhausted, has failed or was given up."""

    def entered(self, stream: object) -> Observes | None:
        """The program has entered the manager and got `stream`. Returns the observer of that."""


#: Observers by the id of their stream, with a reference that ends them when the stream is given up.
_observers: Final[dict[int, tuple[weakref.ref[Any], Observes]]] = {}


def register(stream: Any, observer: Observes) -> None:
    """Make `observer` follow what the program reads of `stream`, until that is given up."""
    key = id(stream)

    def given_up(_: object) -> None:
        found = _observers.pop(key, None)
        if found is not None:
            found[1].ended()

    _observers[key] = weakref.ref(stream, given_up), observer


def observer_of(stream: object) -> Observes | None:
    """The observer of this stream, unless it is in the middle of reading itself."""
    found = _observers.get(id(stream))
    if found is None or found[1].busy or found[0]() is not stream:
        return None
    return found[1]


class Reading:
    """One read of a stream. Reads inside it are parts of it."""

    __slots__ = ("_item", "_observer")

    def __init__(self, observer: Observes) -> None:
        self._observer = observer

    def __enter__(self) -> None:
        self._observer.busy = True

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._observer.busy = False
        if error is not None:
            self._observer.ended(None if isinstance(error, (StopIteration, StopAsyncIteration)) else error)
