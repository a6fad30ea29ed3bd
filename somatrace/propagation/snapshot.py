"""The place a piece of work has: its trace context and its tags, to be taken along elsewhere.

Only these two travel. The program's own context variables stay where the program put them.
"""

from __future__ import annotations

from contextvars import Token
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace.context.tags import Scalar, Tags, current

W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class ContextSnapshot:
    """Context and tags as they were where it was made; a with-block puts them in force elsewhere."""

    __slots__ = ("_context", "_tags", "_tokens")

    def __init__(self, context: Context | None = None, tags: Tags | None = None) -> None:
        self._context = otel_context.get_current() if context is None else context
        self._tags = current.get() if tags is None else tags
        self._tokens: tuple[Token[Tags], Any] | None = None

    @property
    def empty(self) -> bool:
        return not self._context and not self._tags

    def again(self) -> ContextSnapshot:
        """The same place, for a use of its own."""
        return ContextSnapshot(self._context, self._tags)

    def enter(self) -> None:
        self._tokens = (current.set(self._tags), otel_context.attach(self._context))

    def leave(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            current.reset(tokens[0])
        except ValueError:
            return  # left in another context than it was entered in, where nothing of it is set
        otel_context.detach(tokens[1])

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()


class PicklableSnapshot(NamedTuple):
    """A `Moment` that pickles small: for other processes of this program, which are trusted as it is."""

    headers: dict[str, str]
    bound: dict[str, Scalar]
    derived: dict[str, Scalar]

    @classmethod
    def capture(cls) -> PicklableSnapshot:
        headers: dict[str, str] = {}
        W3C.inject(headers)
        tags = current.get()
        return cls(headers, dict(tags.bound), dict(tags.derived))

    def moment(self) -> ContextSnapshot:
        """Where its maker was: the maker's span is the parent."""
        return ContextSnapshot(W3C.extract(self.headers, context=Context()), Tags(self.bound, self.derived))
