"""Instrumentation of the libraries a program uses, switched on when it imports them."""

from __future__ import annotations

from collections.abc import Callable

from somatrace.instruments import (
    asgi,
    celery,
    http_clients,
    langfuse,
    llm_clients,
    openllmetry,
    processes,
    recording,
    servers,
    threads,
    traceloop,
)
from somatrace.instruments.coverage import Coverage
from somatrace.instruments.exporters import exports_elsewhere

__all__ = ["exports_elsewhere", "install"]


def install(
    coverage: Coverage,
    *,
    start: Callable[[], object],
    flush: Callable[[float], object],
    shutdown: Callable[[float], object],
    content: Callable[[str | None], bool],
) -> None:
    """Wait for the imports of what we know how to instrument. Imports none of it.

    `start` (which pickles) traces a child process as this one is; `shutdown` ends tracing within a
    number of seconds, where a process leaves without `atexit`; `flush` only sends what ended.
    """
    recording.allow(content)
    openllmetry.install(coverage)
    traceloop.install(coverage)
    langfuse.install(coverage)
    asgi.install(coverage)
    servers.install(coverage, flush)
    http_clients.install(coverage)
    llm_clients.install(coverage)
    threads.install(coverage)
    processes.install(coverage, start, shutdown)
    celery.install(coverage, shutdown)
