"""A tracer provider that tells the current call which spans the instrumentor has started for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager


class StartsSpans(Protocol):
    """A call for which an instrumentor starts spans."""

    def started(self, span: trace.Span) -> None: ...


_call: Final[ContextVar[StartsSpans | None]] = ContextVar("somatrace_instrumented_call", default=None)


@contextmanager
def noted_by(call: StartsSpans | None) -> Iterator[None]:
    """Report the spans that start in this block to `call`. None: to nobody."""
    token = _call.set(call)
    try:
        yield
    finally:
        _call.reset(token)


def current_call() -> StartsSpans | None:
    """The call whose instrumentor is running."""
    return _call.get()


class NotingProvider(trace.TracerProvider):
    """The process's tracer provider, for instrumentors."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return _NotingTracer(trace.get_tracer(*args, **kwargs))


class _NotingTracer(trace.Tracer):
    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        span = self._tracer.start_span(*args, **kwargs)
        call = _call.get()
        if call is not None:
            call.started(span)
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        *args: Any,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
        **kwargs: Any,
    ) -> Iterator[trace.Span]:
        """Within a call, the end of the call ends the span: its answer may still be read."""
        span = self.start_span(*args, **kwargs)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit and _call.get() is None,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span
