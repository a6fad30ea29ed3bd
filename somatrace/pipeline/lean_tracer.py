"""Tracer that makes lean spans, by the rules of the SDK's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns
from types import TracebackType
from typing import Any, Final, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer, sampling
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import Attributes

from somatrace.context.context_tokens import leave_closed_blocks
from somatrace.pipeline.lean_span import SHORT, LeanSpan, new_span
from somatrace.pipeline.safe_span import described
from somatrace.pipeline.safe_values import safe_attributes, safe_links, safe_text
from somatrace.pipeline.span_processor import GuardingSpanProcessor
from somatrace.pipeline.span_times_and_kinds import valid_kind, valid_time
from somatrace.pipeline.tracer import SomatraceTracer, UnrecordedSpan
from somatrace.runtime.fail_safe import is_suppressed

F = TypeVar("F", bound=Callable[..., Any])

#: The key of the current span in a context; the API has no function that gives it away.
(_SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
_RECORDED: Final = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_FLAGS: Final = tuple(map(TraceFlags, range(4)))
_UNLIMITED: Final = 1 << 62
#: Makes a `SpanContext` of parts that need no check.
_new_tuple: Final = tuple.__new__


class LeanTracer(SomatraceTracer):
    """A `SomatraceTracer` whose spans are `LeanSpan`s."""

    span_processor: GuardingSpanProcessor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        limits = self._span_limits
        self.most_attributes = _UNLIMITED if limits.max_span_attributes is None else limits.max_span_attributes
        longest = limits.max_span_attribute_length
        self.short_text = SHORT if longest is None else min(SHORT, longest)
        self._new_trace_id = self.id_generator.generate_trace_id
        self._new_span_id = self.id_generator.generate_span_id
        self._counts_spans = type(self._tracer_metrics).__name__ != "NoOpTracerMetrics"

    def start_span(  # noqa: PLR0917 - the signature of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span like the SDK does, for any arguments, but never below a block that has ended."""
        try:
            if context is None:
                context = leave_closed_blocks()
            elif not isinstance(context, Context):
                context = otel_context.get_current()
            if not self._tracer_config.is_enabled:
                return super().start_span(name, context, kind, attributes)
            if type(name) is not str:
                name = safe_text(name)
            above = context.get(_SPAN)
            parent = above._context if type(above) is LeanSpan else _context_of(above)
            kind = valid_kind(kind)
            links = links and safe_links(links)
            state: TraceState = DEFAULT_TRACE_STATE
            if parent is None:
                trace_id, flags = self._new_trace_id(), _RECORDED
            else:
                trace_id, _, _, flags, state, _ = parent
                flags = _FLAGS[flags & 3]
            if self.sampler is not sampling.DEFAULT_ON:
                result = self._sample(context, trace_id, name, kind, attributes, links)
                flags = _FLAGS[(flags & TraceFlags.RANDOM_TRACE_ID) | result.decision.is_sampled()]
                state = DEFAULT_TRACE_STATE if result.trace_state is None else result.trace_state
                attributes = dict(result.attributes)
                is_recorded = result.decision.is_recording()
            else:
                is_recorded = bool(flags & TraceFlags.SAMPLED)
            parts = trace_id, self._new_span_id(), False, flags, state, True
            own: SpanContext = _new_tuple(SpanContext, parts)
            if not is_recorded:
                self._count(parent, sampling.Decision.DROP)
                return UnrecordedSpan(own, self._instrumentation_scope, safe_attributes(attributes))
            now = (None if start_time is None else valid_time(start_time)) or time_ns()
            span = new_span(name, own, parent, kind, now, self)
            if attributes:
                span.set_attributes(attributes)
            if links:
                span._links = span._new_links(links)
            if self._counts_spans:
                decision = sampling.Decision.RECORD_AND_SAMPLE if flags & 1 else sampling.Decision.RECORD_ONLY
                span._record_end_metrics = self._count(parent, decision)
            if not (record_exception and set_status_on_exception):
                span._record_exception = record_exception
                span._set_status_on_exception = set_status_on_exception
            self.span_processor.begin(span, above, context)
            return span
        except Exception as error:
            if not is_suppressed("start_span", error):
                raise
        return trace.INVALID_SPAN

    def _sample(
        self, context: Context, trace_id: int, name: str, kind: SpanKind, attributes: Any, links: Any
    ) -> sampling.SamplingResult:
        return self.sampler.should_sample(context, trace_id, name, kind, safe_attributes(attributes), links)

    def _count(self, parent: SpanContext | None, decision: sampling.Decision) -> Callable[[], None] | None:
        return self._tracer_metrics.start_span(parent, decision) if self._counts_spans else None

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917 - the signature of the API
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """A block around a span that is current in it, or a decorator that makes one for each call."""
        given = name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        return CurrentSpan(self, given, end_on_exit=end_on_exit)


class CurrentSpan:
    """The block of `start_as_current_span`; the SDK's is made of two generators, and takes longer than a span."""

    __slots__ = ("_ends", "_given", "_span", "_token", "_tracer")

    def __init__(self, tracer: LeanTracer, given: tuple[Any, ...], *, end_on_exit: bool) -> None:
        self._tracer = tracer
        self._given = given
        self._ends = end_on_exit

    def __enter__(self) -> Span:
        span = self._span = self._tracer.start_span(*self._given)
        context = Context(otel_context.get_current())
        dict.__setitem__(context, _SPAN, span)
        self._token = otel_context.attach(context)
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        span = self._span
        try:
            if isinstance(error, Exception) and span.is_recording():
                if self._given[-2]:
                    span.record_exception(error)
                if self._given[-1]:
                    span.set_status(Status(StatusCode.ERROR, described(error)))
        finally:
            if self._ends:
                span.end()

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function like the SDK does."""
        decorated: F = Tracer.start_as_current_span(self._tracer, *self._given, self._ends)(function)
        return decorated


def _context_of(span: object) -> SpanContext | None:
    """The context of a parent span of another class, if it is valid."""
    if not isinstance(span, Span):
        return None
    context = span.get_span_context()
    return context if isinstance(context, SpanContext) and context.is_valid else None
