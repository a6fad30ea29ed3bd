"""Instrumentation of the libraries that a program uses, switched on when it imports them."""

from __future__ import annotations

from collections.abc import Callable

from somatrace.config import Target
from somatrace.guard import Guard
from somatrace.instrumentation.coexistence import langfuse, log_records, propagators, traceloop, use_span
from somatrace.instrumentation.coexistence.duplicate_exporters import exports_elsewhere
from somatrace.instrumentation.concurrency import celery, child_processes, greenlets, server_exit, threads
from somatrace.instrumentation.content_capture import ContentCapture
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.http import asgi, clients
from somatrace.instrumentation.http.telemetry_requests import is_telemetry_span
from somatrace.instrumentation.llm import client_calls, log_filter, mcp_transports, openllmetry

__all__ = ["exports_elsewhere", "install", "is_telemetry_span"]


def install(
    coverage: Coverage,
    *,
    start: Callable[[], object],
    flush: Callable[[float], object],
    shutdown: Callable[[float], object],
    content: Callable[[str | None], bool],
    guard: Guard,
    target: Target,
) -> None:
    """Wait for the imports of all supported libraries. Imports none of them.

    `start` (which must be picklable) traces a child process like this one. `shutdown` ends tracing within
    the given seconds, in processes that exit without `atexit`. `flush` only sends the ended spans.
    `content` decides whether a tenant's content may be recorded. `guard` filters log records, on any thread.
    Requests to `target` are not traced.
    """
    capture = ContentCapture(content)
    log_filter.install()
    log_records.install(guard)
    propagators.install(coverage)
    use_span.install()
    mcp_transports.install(coverage)  # before the instrumentor, whose streams then are around these
    openllmetry.install(coverage, capture)
    traceloop.install(coverage, capture)
    langfuse.install(coverage)
    asgi.install(coverage)
    server_exit.install(coverage, flush)
    clients.install(coverage, target)
    client_calls.install(coverage)
    threads.install(coverage)
    greenlets.install(coverage)
    child_processes.install(coverage, start, shutdown)
    celery.install(coverage, shutdown)
