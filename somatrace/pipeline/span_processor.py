"""The wall: the one span processor of a provider, and every other one behind it.

It is passed to the provider as its multi-processor, so that processors which libraries add to the
provider directly (langfuse, LiteLLM, Traceloop do) are behind the guard as well.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor

from somatrace.context.span_state import SpanState, attach_state, state_of
from somatrace.context.tags import Tags, current
from somatrace.pipeline.guarded_span import GuardedSpan
from somatrace.runtime.fail_safe import from_a_signal
from somatrace.runtime.status import EXIT_LIMIT

if TYPE_CHECKING:
    from somatrace.pipeline.pipeline import Pipeline

log = logging.getLogger("somatrace")

#: By this attribute a wall is known, also that of another copy of this package.
MARK: Final = "_somatrace_wall"
_REQUESTS = (trace_api.SpanKind.SERVER, trace_api.SpanKind.CONSUMER)


class GuardingSpanProcessor(SynchronousMultiSpanProcessor):
    """Stamps spans at their start and hands them to the road at their end.

    `exports_elsewhere` says of a foreign processor whether it gets what ends; one that would send to
    the very target of the road (the langfuse SDK's, with the same host and key) must not.

    Nothing here raises into the program, and nothing blocks: foreign processors get their `on_end`
    on the road's own thread.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        third_party: tuple[SpanProcessor, ...] = (),
        exports_elsewhere: Callable[[SpanProcessor], bool] = lambda _: True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        setattr(self, MARK, True)
        self._pipeline = pipeline
        self._exports_elsewhere = exports_elsewhere
        self._complained: set[str] = set()
        self._adding = threading.Lock()
        self._span_processors = third_party
        self._serve()

    def _serve(self) -> None:
        self._pipeline.third_party.serve(tuple(filter(self._exports_elsewhere, self._span_processors)))

    # -- what the SDK calls -------------------------------------------------------------------------

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        began = time.perf_counter_ns()
        state: SpanState | None = None
        try:
            state = _state_for(span, parent_context)
            attach_state(span, state)
            self._pipeline.started(span)
        except Exception as error:
            self._complain("state", error)
        for processor in self._span_processors:
            try:
                processor.on_start(self._guarded(span), parent_context=parent_context)
            except Exception as error:
                self._complain(type(processor).__name__, error)
        if state is not None:
            self._pipeline.budget.spend(state, time.perf_counter_ns() - began)

    def _on_ending(self, span: Span) -> None:
        began = time.perf_counter_ns()
        for processor in self._span_processors:
            try:
                processor._on_ending(self._guarded(span))
            except Exception as error:
                self._complain(type(processor).__name__, error)
        try:
            state = state_of(span)
            if state is not None:
                self._pipeline.budget.spend(state, time.perf_counter_ns() - began)
                if state.root is state:
                    self._pipeline.budget.settle(state)
            self._pipeline.ended(span)
        except Exception as error:
            self._complain("queue", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Nothing: `_on_ending` has taken the span, with the stamp that this copy of it lacks."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Put a foreign processor behind the guard. It gets guarded copies of what ends from now on."""
        with self._adding:
            self._span_processors = (*self._span_processors, span_processor)
            self._serve()

    def remove_span_processor(self, span_processor: SpanProcessor) -> None:
        """Let go of a foreign processor; it is not shut down."""
        with self._adding:
            self._span_processors = tuple(
                found for found in self._span_processors if found is not span_processor
            )
            self._serve()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        timeout = timeout_millis / 1000
        if not threading.main_thread().is_alive():
            # an exit handler (the langfuse SDK's) flushes for as long as the default says, 30 s
            timeout = min(timeout, EXIT_LIMIT)
        return self._pipeline.flush(timeout)

    def shutdown(self) -> None:
        """The provider's own shutdown: foreign processors end, in bounded time. The road goes on until
        `somatrace.shutdown`, because the program's spans do."""
        self._pipeline.flush(EXIT_LIMIT)
        self._pipeline.third_party.shut(EXIT_LIMIT)

    # -- behind the guard ---------------------------------------------------------------------------

    @property
    def third_party(self) -> tuple[SpanProcessor, ...]:
        return self._span_processors

    def _guarded(self, span: Span) -> GuardedSpan:
        return GuardedSpan(span, lambda: self._pipeline.copier.copy(span))

    def _complain(self, who: str, error: Exception) -> None:
        if from_a_signal(error):
            raise error
        if who not in self._complained:
            self._complained.add(who)
            log.warning("%s: %s in a span processor; the program is not affected", who, type(error).__name__)


def _state_for(span: Span, parent_context: Context | None) -> SpanState:
    """The stamp of a starting span: the tags bound here, or those its local parent was started with.

    A label given to a local root later is inherited only below a request (a server or consumer span
    is one tenant's): in a long-lived root, say of a consumer loop, it would mark the next job too.
    """
    tags = current.get()
    parent = state_of(trace_api.get_current_span(parent_context))
    if parent is not None and tags.tenant is None:
        inherited = parent.effective if parent.root.shares_label else parent.tags
        if parent.root.shares_label and inherited.tenant is None and parent.root.label is not None:
            inherited = parent.root.label
        tags = _merge(inherited, tags)
    state = SpanState(tags, parent.root if parent is not None else None, shares_label=span.kind in _REQUESTS)
    if parent is None:
        state.root_name = span.name
    return state


def _merge(below: Tags, above: Tags) -> Tags:
    if not above:
        return below
    if not below:
        return above
    return Tags({**below.bound, **above.bound}, {**below.derived, **above.derived})
