"""Run each Celery task in the context of its sender, in its own span, with no effect on the next task."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from somatrace import propagation, semconv
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.http.client_span import error_type
from somatrace.instrumentation.import_hooks import when_imported
from somatrace.runtime.limits import EXIT_LIMIT

log = logging.getLogger("somatrace")

_HEADERS: Final = (semconv.HEADER_TRACEPARENT, semconv.HEADER_TRACESTATE, "baggage", semconv.HEADER_TAGS)


def install(coverage: Coverage, shutdown: Callable[[float], object]) -> None:
    """Wait for the import of celery. `shutdown` ends tracing in a worker process within the given seconds."""
    when_imported("celery.signals", coverage, lambda module: _connect(module, shutdown))


def _connect(signals: ModuleType, shutdown: Callable[[float], object]) -> None:
    tasks = RunningTasks()
    for signal, receiver in (
        (signals.before_task_publish, _publish),
        (signals.task_prerun, tasks.begin),
        (signals.task_failure, tasks.failed),
        (signals.task_postrun, tasks.end),
        # prefork workers exit by os._exit, without atexit
        (signals.worker_process_shutdown, lambda **_: shutdown(EXIT_LIMIT)),
    ):
        signal.connect(receiver, weak=False)


def _publish(headers: Any = None, **_: Any) -> None:
    try:
        if isinstance(headers, dict):
            headers.update(propagation.message_headers())
    except Exception:
        log.debug("a Celery task is sent without its tags", exc_info=True)


class _Running:
    """A task between its start and its end."""

    def __init__(self, snapshot: propagation.ContextSnapshot) -> None:
        self.snapshot = snapshot
        self.span: Span | None = None
        self.token: Any = None


class RunningTasks:
    """The running tasks of this process, by the request object that lives as long as its task."""

    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}

    def begin(self, task: Any = None, **_: Any) -> None:
        try:
            request = task.request
            running = _Running(_sender_context(request))
            self._running[id(request)] = running
            running.snapshot.enter()
            if not _instrumented_by_opentelemetry():
                running.span = _start(task, request)
                running.token = otel_context.attach(trace.set_span_in_context(running.span))
        except Exception:
            log.debug("a Celery task is not traced", exc_info=True)

    def failed(self, sender: Any = None, exception: Any = None, **_: Any) -> None:
        try:
            running = self._running.get(id(sender.request))
            if running is not None and running.span is not None and isinstance(exception, BaseException):
                running.span.set_attribute(semconv.ERROR_TYPE, error_type(exception))
                running.span.set_status(StatusCode.ERROR)
        except Exception:
            log.debug("a Celery task's failure is not recorded", exc_info=True)

    def end(self, task: Any = None, **_: Any) -> None:
        try:
            running = self._running.pop(id(task.request), None)
            if running is None:
                return
            if running.span is not None:
                otel_context.detach(running.token)
                running.span.end()
            running.snapshot.leave()
        except Exception:
            log.debug("a Celery task's end is not recorded", exc_info=True)


def _sender_context(request: Any) -> propagation.ContextSnapshot:
    """The context that the task was sent from. An eager task runs in its caller's."""
    if getattr(request, "is_eager", False):
        return propagation.ContextSnapshot()
    return propagation.received({name: value for name in _HEADERS if (value := getattr(request, name, None))})


def _start(task: Any, request: Any) -> Span:
    eager = getattr(request, "is_eager", False)
    delivery = getattr(request, "delivery_info", None) or {}
    attributes = {"messaging.system": "celery", "messaging.operation.type": "process"}
    if delivery.get("routing_key"):
        attributes["messaging.destination.name"] = str(delivery["routing_key"])[:200]
    return trace.get_tracer("somatrace.celery", semconv.VERSION).start_span(
        str(task.name),
        kind=SpanKind.INTERNAL if eager else SpanKind.CONSUMER,
        attributes={} if eager else attributes,
        record_exception=False,
        set_status_on_exception=False,
    )


def _instrumented_by_opentelemetry() -> bool:
    instrumentor = getattr(
        sys.modules.get("opentelemetry.instrumentation.celery"), "CeleryInstrumentor", None
    )
    return instrumentor is not None and bool(instrumentor().is_instrumented_by_opentelemetry)
