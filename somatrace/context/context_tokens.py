"""Attach tags and trace context together, and detach them together."""

from __future__ import annotations

import sys
from contextvars import Token

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from somatrace.context.exception_origins import Origin, origins
from somatrace.context.span_state import state_of
from somatrace.context.tags import Tags, current
from somatrace.runtime.fail_safe import fail_safe


class ContextTokens:
    """Tags and, optionally, a trace context that are current from creation until `detach`."""

    __slots__ = ("_context", "_handled", "_tags")

    def __init__(self, tags: Tags, context: Context | None = None) -> None:
        handled = sys.exception()
        #: The origin of an exception that was being handled before: it does not come from this work.
        self._handled = None if handled is None else _origin_of(handled)
        self._tags = current.set(tags)
        self._context: Token[Context] | None = None if context is None else otel_context.attach(context)

    def attach(self, context: Context) -> None:
        """Make `context` current too, if it was not known at creation."""
        self._context = otel_context.attach(context)

    def detach(self) -> None:
        """Restore the previous tags and context. Does nothing in a context where they were not attached."""
        error = sys.exception()
        if error is not None:
            with fail_safe("exception"):
                if self._handled is None or origins.of(error) is not self._handled:
                    origins.note(error, tenant_in_force())
        try:
            current.reset(self._tags)
        except ValueError:
            return
        if self._context is not None:
            otel_context.detach(self._context)


def tenant_in_force() -> str | None:
    """The tenant of the work in this context: the bound one, else that of the current span."""
    tags = current.get()
    if tags.names_tenant:
        return tags.tenant
    state = state_of(trace.get_current_span())
    return state.tags.tenant if state is not None else None


def _origin_of(handled: BaseException) -> Origin | None:
    """The origin of an exception that is being handled: without one yet, it comes from the enclosing work."""
    with fail_safe("exception"):
        origins.note_new(handled, tenant_in_force())
        return origins.of(handled)
    return None
