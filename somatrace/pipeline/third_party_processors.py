"""The program's own span processors behind the guard: they get guarded copies, on a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace.runtime.worker import BackgroundWorker

log = logging.getLogger("somatrace")

#: How many guarded spans may wait for slow processors.
SIZE: Final = 2048
_END: Final = "somatrace-foreign-end"
#: Somebody may have instrumented what exporters and listeners speak: a span for each export makes a loop.
UNINSTRUMENTED: Final = otel_context.set_value(
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    True,
    otel_context.Context(),
)


class ThirdPartyProcessors:
    """Foreign processors and their lane: one that blocks (a SimpleSpanProcessor whose backend is away
    does, for seconds per span) must not hold up delivery."""

    def __init__(self) -> None:
        self._processors: tuple[SpanProcessor, ...] = ()
        self._complained: set[tuple[int, str]] = set()
        self._worker: BackgroundWorker[tuple[SpanProcessor, ReadableSpan]] = BackgroundWorker(
            "third_party", self._feed, size=SIZE
        )

    def __bool__(self) -> bool:
        return bool(self._processors)

    def serve(self, processors: tuple[SpanProcessor, ...]) -> None:
        """Who gets guarded copies from now on."""
        self._processors = processors

    def show(self, span: ReadableSpan) -> None:
        """Queue a guarded copy for all of them."""
        for processor in self._processors:
            if not self._worker.put((processor, span)):
                self._complain(processor, "it does not keep up and is not shown every span")

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until they have seen everything and have flushed it."""
        if not self._processors:
            return True
        until = time.monotonic() + timeout
        seen = self._worker.flush(max(0.0, timeout))
        left = until - time.monotonic()
        if left <= 0:
            return False
        # their `force_flush` may ignore its timeout (opentelemetry-python#4568), so it runs beside us
        millis = max(1, int(left * 1000))
        return _bounded(left, [partial(one.force_flush, millis) for one in self._processors]) and seen

    def close(self, timeout: float) -> None:
        """Show what is queued, then shut them down, in about `timeout` seconds."""
        if self._processors:
            until = time.monotonic() + timeout
            self._worker.close(max(0.05, timeout / 2))
            self.shut(until - time.monotonic())

    def shut(self, timeout: float) -> None:
        """Shut them down, once, and wait for it no longer than `timeout` seconds."""
        processors, self._processors = self._processors, ()
        if processors:
            _bounded(timeout, [processor.shutdown for processor in processors])

    def _feed(self, pairs: Sequence[tuple[SpanProcessor, ReadableSpan]]) -> None:
        token = otel_context.attach(UNINSTRUMENTED)
        for processor, span in pairs:
            try:
                processor.on_end(span)
            except Exception as error:
                self._complain(processor, f"{type(error).__name__} in on_end")
        otel_context.detach(token)

    def _complain(self, processor: SpanProcessor, what: str) -> None:
        if (id(processor), what) not in self._complained:
            self._complained.add((id(processor), what))
            log.warning("%s: %s", type(processor).__name__, what)


def _bounded(timeout: float, calls: Sequence[Callable[[], object]]) -> bool:
    """Make the calls in turn on a thread of their own; False when one fails, says so, or time is over.

    While four such threads hang no more are started: a program may flush once per request.
    """
    results: list[bool] = []
    if sum(thread.name == _END for thread in threading.enumerate()) >= 4:
        return False

    def run() -> None:
        for call in calls:
            try:
                results.append(call() is not False)
            except Exception:
                results.append(False)

    thread = threading.Thread(target=run, name=_END, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        return False
    thread.join(max(0.0, timeout))
    return not thread.is_alive() and all(results)
