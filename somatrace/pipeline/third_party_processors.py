"""Third-party span processors, which receive guarded copies on a separate thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import LogOnce
from somatrace.runtime.worker import BackgroundWorker

#: Maximum number of guarded spans queued for slow processors.
SIZE: Final = 2048
_THREAD_NAME: Final = "somatrace-third-party-end"
#: Suppresses instrumentation: the HTTP or gRPC client of an exporter or listener may be instrumented, and a
#: span for each export would cause an endless loop.
UNINSTRUMENTED: Final = otel_context.set_value(
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    True,
    otel_context.Context(),
)


class ThirdPartyProcessors:
    """Third-party processors and their worker: one that blocks (as a SimpleSpanProcessor does, for seconds
    per span, while its backend is unavailable) must not delay delivery."""

    def __init__(self) -> None:
        self._processors: tuple[SpanProcessor, ...] = ()
        self._warnings = LogOnce()
        self._worker: BackgroundWorker[tuple[SpanProcessor, ReadableSpan]] = BackgroundWorker(
            "third_party", self._feed, size=SIZE
        )

    def __bool__(self) -> bool:
        return bool(self._processors)

    def serve(self, processors: tuple[SpanProcessor, ...]) -> None:
        """Set the processors that receive guarded copies from now on."""
        self._processors = processors

    def show(self, span: ReadableSpan) -> None:
        """Queue a guarded copy for each processor."""
        for processor in self._processors:
            if not self._worker.put((processor, span)):
                self._warn(processor, "it cannot keep up and does not get every span")

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the processors have received and flushed everything."""
        if not self._processors:
            return True
        until = clock.monotonic() + timeout
        seen = self._worker.flush(max(0.0, timeout))
        left = until - clock.monotonic()
        if left <= 0:
            return False
        # their `force_flush` may ignore its timeout (opentelemetry-python#4568), so it runs on another thread
        millis = max(1, int(left * 1000))
        return _bounded(left, [partial(one.force_flush, millis) for one in self._processors]) and seen

    def close(self, timeout: float) -> None:
        """Process queued spans, then shut the processors down, in about `timeout` seconds."""
        if self._processors:
            until = clock.monotonic() + timeout
            self._worker.close(max(0.05, timeout / 2))
            self.shut(until - clock.monotonic())

    def shut(self, timeout: float) -> None:
        """Shut the processors down, once, and wait up to `timeout` seconds."""
        processors, self._processors = self._processors, ()
        if processors:
            _bounded(timeout, [processor.shutdown for processor in processors])

    def _feed(self, pairs: Sequence[tuple[SpanProcessor, ReadableSpan]]) -> None:
        token = otel_context.attach(UNINSTRUMENTED)
        for processor, span in pairs:
            try:
                processor.on_end(span)
            except Exception as error:
                self._warn(processor, f"{type(error).__name__} in on_end")
        otel_context.detach(token)

    def _warn(self, processor: SpanProcessor, problem: str) -> None:
        self._warnings.warning((id(processor), problem), "%s: %s", type(processor).__name__, problem)


def _bounded(timeout: float, calls: Sequence[Callable[[], object]]) -> bool:
    """Make the calls in turn on a new thread; False if one raises, returns False, or time runs out.

    While four such threads hang, no more are started: a program may flush once per request.
    """
    results: list[bool] = []
    if sum(thread.name == _THREAD_NAME for thread in threading.enumerate()) >= 4:
        return False

    def run() -> None:
        for call in calls:
            try:
                results.append(call() is not False)
            except Exception:
                results.append(False)

    thread = threading.Thread(target=run, name=_THREAD_NAME, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        return False
    thread.join(max(0.0, timeout))
    return not thread.is_alive() and all(results)
