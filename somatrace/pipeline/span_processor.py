"""The only span processor of a provider; all other processors run behind it.

It replaces the provider's multi-processor, so that processors added directly by libraries (langfuse,
LiteLLM and Traceloop do this) are behind the guard as well.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor

from somatrace.context.context_tokens import open_context
from somatrace.context.span_state import Around, SpanState, attach_state, state_of
from somatrace.context.tags import Tags, current
from somatrace.pipeline.guarded_span import GuardedSpan
from somatrace.pipeline.recording_span import make_recording
from somatrace.pipeline.span_naming import naming_of
from somatrace.runtime.clock import clock
from somatrace.runtime.fail_safe import from_a_signal
from somatrace.runtime.limits import EXIT_LIMIT
from somatrace.runtime.log_once import LogOnce

if TYPE_CHECKING:
    from somatrace.pipeline.pipeline import Pipeline

#: Attribute that marks this processor, even one from another copy of the package.
MARK: Final = "_somatrace_wall"
#: Tenants of enclosing spans that are remembered.
_MAX_ENCLOSING: Final = 8
_REQUESTS = (trace_api.SpanKind.SERVER, trace_api.SpanKind.CONSUMER)


class GuardingSpanProcessor(SynchronousMultiSpanProcessor):
    """Attaches state to spans at their start and passes them to the pipeline at their end.

    `exports_elsewhere` decides whether a third-party processor receives ended spans: one that sends to
    the pipeline's own target (such as the langfuse SDK's, with the same host and key) must not.
    `is_telemetry` tells, of a starting and of an ended span, whether it is left out of its trace.

    Nothing here raises into the program, and nothing blocks: `on_end` of third-party processors is called
    on a background thread.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        third_party: tuple[SpanProcessor, ...] = (),
        exports_elsewhere: Callable[[SpanProcessor], bool] = lambda _: True,
        is_telemetry: Callable[[ReadableSpan, bool], bool] = lambda _span, _ended: False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        setattr(self, MARK, True)
        self._pipeline = pipeline
        self._budget = pipeline.budget
        # bound here: a method object for each span would be garbage
        self._on_event = pipeline.event_declared
        self._allows_text = pipeline.copier.allows_text
        self._exports_elsewhere = exports_elsewhere
        self._is_telemetry = is_telemetry
        self._warnings = LogOnce()
        self._adding = threading.Lock()
        self._span_processors = third_party
        self._serve()

    def _serve(self) -> None:
        self._pipeline.third_party.serve(tuple(filter(self._exports_elsewhere, self._span_processors)))

    # -- called by the SDK --------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        began = clock.perf_counter_ns() if self._budget.limited else 0
        state: SpanState | None = None
        try:
            around = _around(span, parent_context)
            if self._is_left_out(span, ended=False):
                _leave_out(span, around)
                return
            state = _state_for(span, around.state)
            state.process = self._pipeline.process
            state.on_event = self._on_event
            state.content_policy = self._allows_text
            make_recording(span)
            attach_state(span, state)
            self._pipeline.started(span)
        except Exception as error:
            self._warn("state", error)
        for processor in self._span_processors:
            try:
                processor.on_start(self._guarded(span), parent_context=parent_context)
            except Exception as error:
                self._warn(type(processor).__name__, error)
        if began and state is not None:
            self._budget.spend(state, clock.perf_counter_ns() - began)

    def _on_ending(self, span: Span) -> None:
        began = clock.perf_counter_ns() if self._budget.limited else 0
        state = state_of(span)
        if state is not None and (state.left_out is not None or self._is_left_out(span, ended=True)):
            if state.left_out is None and state.process is self._pipeline.process:
                self._pipeline.ledger.count("created", -1)
            return
        for processor in self._span_processors:
            try:
                processor._on_ending(self._guarded(span))
            except Exception as error:
                self._warn(type(processor).__name__, error)
        try:
            if state is not None:
                state.end()
                if began:
                    self._budget.spend(state, clock.perf_counter_ns() - began)
                    if state.root is state:
                        self._budget.settle(state)
            self._pipeline.ended(span)
        except Exception as error:
            self._warn("queue", error)

    def _is_left_out(self, span: Span, *, ended: bool) -> bool:
        try:
            return self._is_telemetry(span, ended)
        except Exception as error:
            self._warn("telemetry", error)
            return False

    def on_end(self, span: ReadableSpan) -> None:
        """Do nothing: `_on_ending` has handled the span."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a third-party processor. It receives guarded copies of spans that end from now on."""
        with self._adding:
            self._span_processors = (*self._span_processors, span_processor)
            self._serve()

    def remove_span_processor(self, span_processor: SpanProcessor) -> None:
        """Remove a third-party processor without shutting it down."""
        with self._adding:
            self._span_processors = tuple(
                other for other in self._span_processors if other is not span_processor
            )
            self._serve()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        timeout = timeout_millis / 1000
        if not threading.main_thread().is_alive():
            # exit handlers (such as the langfuse SDK's) flush with the default timeout, 30 s
            timeout = min(timeout, EXIT_LIMIT)
        return self._pipeline.flush(timeout)

    def shutdown(self) -> None:
        """Shut down third-party processors, in bounded time. The pipeline runs until `somatrace.shutdown`,
        because the program may still create spans."""
        self._pipeline.flush(EXIT_LIMIT)
        self._pipeline.third_party.shut(EXIT_LIMIT)

    # -- behind the guard ---------------------------------------------------------------------------

    @property
    def third_party(self) -> tuple[SpanProcessor, ...]:
        return self._span_processors

    def _guarded(self, span: Span) -> GuardedSpan:
        return GuardedSpan(span, lambda: self._pipeline.copier.copy(span))

    def _warn(self, source: str, error: Exception) -> None:
        if from_a_signal(error):
            raise error
        message = "%s: %s in a span processor; the program is not affected"
        self._warnings.warning(source, message, source, type(error).__name__)


def _leave_out(span: Span, around: Around) -> None:
    """Leave a starting span out of its trace. Those below it become children of the span around it."""
    state = SpanState(current.get(), None if around.state is None else around.state.root)
    state.left_out = around
    attach_state(span, state)


def _around(span: Span, parent_context: Context | None) -> Around:
    """The parent of a starting span, which is none of those that are left out."""
    context = open_context() if parent_context is None else parent_context
    around = Around(span.parent, state_of(trace_api.get_current_span(context)))
    while around.state is not None and around.state.left_out is not None:
        around = around.state.left_out
        span._parent = around.context
    return around


def _state_for(span: Span, parent: SpanState | None) -> SpanState:
    """The state of a starting span: the current tags, or those its local parent was started with.

    Tags that name a tenant, or explicitly none, inherit nothing. A label set later on a local root is
    inherited only within a request (a server or consumer span has one tenant): in a long-lived root, such
    as that of a consumer loop, it would apply to the next job too.
    """
    tags = current.get()
    if parent is not None and not tags.names_tenant:
        inherited = parent.tags
        if parent.root.shares_label and not inherited.names_tenant:
            inherited = parent.root.label or inherited
        tags = _merge(inherited, tags)
    state = SpanState(tags, parent.root if parent is not None else None, shares_label=span.kind in _REQUESTS)
    if parent is None:
        state.naming = naming_of(span)
    else:
        state.enclosing = _enclosing(parent, tags)
        state.put_below(parent)
        parent.root.note_below(tags)
    return state


def _enclosing(parent: SpanState, tags: Tags) -> tuple[str, ...]:
    """The last tenants of the spans around one with these tags, other than its own."""
    if parent.tags is tags:  # most spans
        return parent.enclosing
    tenant = parent.tags.tenant
    if tenant is None or tenant == tags.tenant or tenant in parent.enclosing:
        return parent.enclosing
    return (*parent.enclosing, tenant)[-_MAX_ENCLOSING:]


def _merge(below: Tags, above: Tags) -> Tags:
    """`above` over `below`. If one is empty, the other itself: attributes are cached per object."""
    if not above and not above.unbound:
        return below
    if not below and not below.unbound:
        return above
    return above.over(below)
