"""The block of `start_as_current_span`. The SDK's is made of two generators, and takes longer than a span."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span
from opentelemetry.trace.status import Status, StatusCode

from somatrace.context.collector_safety import changing
from somatrace.context.current_span_key import SPAN_KEY
from somatrace.pipeline.safe_span import described

F = TypeVar("F", bound=Callable[..., Any])


class CurrentSpan:
    """A block around a new span, which is current in it, with the rules of OpenTelemetry's `use_span`.

    `given` are the arguments of `start_span`; the last two tell whether an exception that leaves the block is
    recorded, and whether it sets the status.
    """

    __slots__ = ("_ends", "_given", "_span", "_token", "_tracer")

    def __init__(self, tracer: Tracer, given: tuple[Any, ...], ends: bool) -> None:
        self._tracer = tracer
        self._given = given
        self._ends = ends

    def __enter__(self) -> Span:
        changing()
        span = self._span = self._tracer.start_span(*self._given)
        context = Context(otel_context.get_current())
        dict.__setitem__(context, SPAN_KEY, span)  # a context refuses to be changed later
        self._token = otel_context.attach(context)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        changing()
        otel_context.detach(self._token)
        span = self._span
        try:
            if error is not None and isinstance(error, Exception) and span.is_recording():
                *_, record_exception, set_status = self._given
                if record_exception:
                    span.record_exception(error)
                if set_status:
                    span.set_status(Status(StatusCode.ERROR, described(error)))
        finally:
            if self._ends:
                span.end()

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function like the SDK does: each call has a span of its own."""
        block: Any = Tracer.start_as_current_span
        decorated: F = block(self._tracer, *self._given, self._ends)(function)
        return decorated
