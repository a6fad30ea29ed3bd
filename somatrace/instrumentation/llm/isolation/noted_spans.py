"""The spans that an instrumentor starts for one call, which end with it whatever the instrumentor does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol

from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager

from somatrace.context.collector_safety import changing, context_variable
from somatrace.instrumentation.llm.isolation.answer_failures import mark_failed
from somatrace.runtime.log_once import LogOnce
from somatrace.runtime.type_names import type_name

_warnings: Final = LogOnce(limit=100)


class StartsSpans(Protocol):
    """A call for which an instrumentor starts spans."""

    def started(self, span: trace.Span) -> None: ...

    def resumed(self) -> trace.Span | None:
        """The span to go on with in place of a new one."""

    def began(self, start_ns: Any) -> Any:
        """The start of a span for which the instrumentor gives this one."""


_call: Final[ContextVar[StartsSpans | None]] = context_variable("somatrace_instrumented_call", None)


@contextmanager
def noted_by(call: StartsSpans | None) -> Iterator[None]:
    """Report the spans that start in this block to `call`. None: to nobody."""
    changing()
    token = _call.set(call)
    try:
        yield
    finally:
        changing()
        with suppress(ValueError):  # the end of a generator, in another context
            _call.reset(token)


def log_fault(name: str, error: BaseException) -> None:
    """Log an instrumentor's failure, once of a kind and without its text, which may quote the call."""
    kind = type_name(error)
    _warnings.warning((name, kind), "%s: %s in its instrumentation; the call is not affected", name, kind)


class CallSpans:
    """The spans that an instrumentor has started for one call of the method `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._spans: list[trace.Span] = []
        self._start_ns = time.time_ns()
        #: Spans to go on with, in the order in which they have started. None outside of `resuming`.
        self._open: list[trace.Span] | None = None
        #: Whether the call has had a span.
        self.has_spans = False
        self._answer_failure = ""

    def started(self, span: trace.Span) -> None:
        self.has_spans = True
        self._spans.append(span)
        if self._answer_failure:
            mark_failed(span, self._answer_failure)

    def answer_failed(self, error: BaseException | str) -> None:
        """The answer has failed with an exception, or an error type. So have the spans of the call, whatever
        the instrumentor says of them."""
        if isinstance(error, str):  # an exception is not kept: it keeps frames, and they the stream
            self._answer_failure = error
        for span in self._spans:
            mark_failed(span, error)

    def resumed(self) -> trace.Span | None:
        return self._open.pop(0) if self._open else None

    def began(self, start_ns: Any) -> Any:
        return start_ns if self._open is None else min(start_ns or self._start_ns, self._start_ns)

    @contextmanager
    def resuming(self) -> Iterator[None]:
        """Go on with the spans of the call where the instrumentor starts spans in this block."""
        self._open = list(self._spans)
        try:
            with noted_by(self):
                yield
        finally:
            self._open = None

    def noting(self) -> AbstractContextManager[None]:
        """Note the spans that start in a block."""
        return noted_by(self)

    def fault(self, error: BaseException) -> None:
        """Take note of an instrumentor's failure."""
        log_fault(self._name, error)

    def close(self, error: BaseException | None = None) -> None:
        """End the spans that are still open, with what they have."""
        for span in self._spans:
            if span.is_recording():
                if error is not None:
                    mark_failed(span, error)
                span.end()
        self._spans.clear()


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
        call = _call.get()
        if call is None:
            return self._tracer.start_span(*args, **kwargs)
        span = call.resumed()
        if span is None:
            span = self._tracer.start_span(
                *args, **{**kwargs, "start_time": call.began(kwargs.get("start_time"))}
            )
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
