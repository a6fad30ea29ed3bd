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

from somatrace import semconv
from somatrace.context.context_tokens import open_context
from somatrace.context.span_state import MAX_ABOVE, Around, SpanState, attach_state, state_of
from somatrace.context.tags import Tags, current
from somatrace.pipeline.guarded_span import GuardedSpan
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.recording_span import make_recording
from somatrace.pipeline.span_naming import naming_at_start
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
_CLIENT: Final = trace_api.SpanKind.CLIENT
_INTERNAL: Final = trace_api.SpanKind.INTERNAL
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
        """Take a span of the SDK's own class. Lean spans are taken by `begin`."""
        make_recording(span)
        context = open_context() if parent_context is None else parent_context
        self.begin(span, trace_api.get_current_span(context), parent_context)

    def begin(self, span: Span, above: object, parent_context: Context | None) -> None:
        """Give a starting span its state; `above` is the span of its context, of any class."""
        began = clock.perf_counter_ns() if self._budget.limited else 0
        state: SpanState | None = None
        try:
            parent = None if above is None else state_of(above)
            if parent is not None and parent.left_out is not None:
                parent = _above_left_out(span, parent)
            if span._kind is _CLIENT and self._is_left_out(span, ended=False):
                _leave_out(span, parent)
                return
            pipeline = self._pipeline
            state = _state_for(span, parent)
            state.owner = pipeline.owner
            attach_state(span, state)
            pipeline.started(span, state)
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
        self.ended(span)

    def ended(self, span: Span) -> None:
        """Queue an ended span."""
        began = clock.perf_counter_ns() if self._budget.limited else 0
        state = state_of(span)
        if state is not None and (
            state.left_out is not None or (span._kind is _CLIENT and self._is_left_out(span, ended=True))
        ):
            if state.left_out is None and state.owner is self._pipeline.owner:
                self._pipeline.ledger.uncount_created()
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
            self._pipeline.ended(span, state)
        except Exception as error:
            self._warn("queue", error)

    def _is_left_out(self, span: Span, *, ended: bool) -> bool:
        try:
            scope = span._instrumentation_scope
            if scope is None or not scope.name.startswith(semconv.INSTRUMENTATION_SCOPES):
                return False  # most spans
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

    @property
    def has_listeners(self) -> bool:
        return self._pipeline.has_listeners

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


def _leave_out(span: Span, parent: SpanState | None) -> None:
    """Leave a starting span out of its trace. Those below it become children of the span around it."""
    state = SpanState(current.get(), None if parent is None else parent.root)
    state.left_out = Around(span.parent, parent)
    attach_state(span, state)


def _above_left_out(span: Span, parent: SpanState) -> SpanState | None:
    """The state of the first span above that is not left out, which becomes the parent."""
    above: SpanState | None = parent
    while above is not None and above.left_out is not None:
        span._parent, above = above.left_out
    return above


def _state_for(span: Span, parent: SpanState | None) -> SpanState:
    """The state of a starting span: the current tags, or those its local parent was started with.

    Tags that name a tenant, or explicitly none, inherit nothing. A label set later on a local root is
    inherited only within a request (a server or consumer span has one tenant): in a long-lived root, such
    as that of a consumer loop, it would apply to the next job too.
    """
    tags, kind = current.get(), span._kind
    is_request = kind is not _INTERNAL and kind in _REQUESTS
    if parent is None:
        state = SpanState(tags, None)
        if is_request:
            state.shares_label = True
        state.naming = naming_at_start(span, span._tracer.namings if type(span) is LeanSpan else {})
        return state
    root = parent if parent._root is None else parent._root
    around = parent.tags
    if (tags is not around or root.label is not None) and not tags.names_tenant:  # few spans
        inherited = around
        if root.shares_label and not inherited.names_tenant:
            inherited = root.label or inherited
        tags = _merge(inherited, tags)
    state = SpanState(tags, root)
    if is_request:
        state.shares_label = True
    if around is not tags or parent.enclosing:
        state.enclosing = _enclosing(parent, tags)
    if parent.ended or parent.depth >= MAX_ABOVE:
        state.put_below(parent)
    else:
        state.above, state.depth = parent, parent.depth + 1
    below = root.below
    if below is not None and below.noted is not tags:
        root.note_below(tags)
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
