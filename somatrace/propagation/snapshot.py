"""`ContextSnapshot`: tags and trace context captured in one place and applied in another.

Only these two are propagated, not the program's own context variables.
"""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from somatrace.context.context_tokens import ContextTokens
from somatrace.context.tags import Scalar, Tags, current

W3C = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class ContextSnapshot:
    """The context and tags at creation; a with-block applies them elsewhere."""

    __slots__ = ("_context", "_tags", "_tokens")

    def __init__(self, context: Context | None = None, tags: Tags | None = None) -> None:
        self._context = otel_context.get_current() if context is None else context
        self._tags = current.get() if tags is None else tags
        self._tokens: ContextTokens | None = None

    @property
    def empty(self) -> bool:
        return not self._context and not self._tags and not self._tags.unbound

    def again(self) -> ContextSnapshot:
        """An independent copy of this snapshot."""
        return ContextSnapshot(self._context, self._tags)

    def enter(self) -> None:
        self._tokens = ContextTokens(self._tags, self._context)

    def leave(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.detach()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()


class PicklableSnapshot(NamedTuple):
    """A snapshot with a small pickle, for other processes of this program, which are trusted."""

    headers: dict[str, str]
    bound: dict[str, Scalar]
    derived: dict[str, Scalar]
    unbound: tuple[str, ...]

    @classmethod
    def capture(cls) -> PicklableSnapshot:
        headers: dict[str, str] = {}
        W3C.inject(headers)
        tags = current.get()
        return cls(headers, dict(tags.bound), dict(tags.derived), tuple(tags.unbound))

    def moment(self) -> ContextSnapshot:
        """The snapshot to apply; the span current at capture becomes the parent."""
        tags = Tags(self.bound, self.derived, self.unbound)
        return ContextSnapshot(W3C.extract(self.headers, context=Context()), tags)
