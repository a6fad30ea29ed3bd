"""Attach tags and trace context together, and detach them together."""

from __future__ import annotations

from contextvars import Token

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from somatrace.context.tags import Tags, current


class ContextTokens:
    """Tags and, optionally, a trace context that are current from creation until `detach`."""

    __slots__ = ("_context", "_tags")

    def __init__(self, tags: Tags, context: Context | None = None) -> None:
        self._tags = current.set(tags)
        self._context: Token[Context] | None = None if context is None else otel_context.attach(context)

    def attach(self, context: Context) -> None:
        """Make `context` current too, if it was not known at creation."""
        self._context = otel_context.attach(context)

    def detach(self) -> None:
        """Restore the previous tags and context. Does nothing in a context where they were not attached."""
        try:
            current.reset(self._tags)
        except ValueError:
            return
        if self._context is not None:
            otel_context.detach(self._context)
