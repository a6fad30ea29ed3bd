"""The listeners of a pipeline, each of which is called for every record, whatever the others raise."""

from __future__ import annotations

from collections.abc import Iterable

from somatrace.listeners.record import Listener, Record
from somatrace.runtime.log_once import LogOnce


class ListenerCalls:
    """Calls listeners."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        #: Asked for each span whether there are any.
        self.called = tuple(listeners)
        self._warnings = LogOnce()

    def add(self, listener: Listener) -> None:
        """Add a listener; it receives records from now on."""
        self.called = (*self.called, listener)

    def remove(self, listener: Listener) -> None:
        """Remove a listener."""
        self.called = tuple(other for other in self.called if other is not listener)

    def tell(self, record: Record) -> None:
        """Call all listeners with a record."""
        for listener in self.called:
            try:
                listener(record)
            except Exception as error:
                name = getattr(listener, "__name__", listener)
                self._warnings.warning(id(listener), "listener %r raised %s", name, type(error).__name__)
