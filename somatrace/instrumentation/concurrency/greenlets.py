"""Pass trace context and tags to gevent's greenlets and to its thread pool."""

from __future__ import annotations

import contextvars
import logging
from types import ModuleType
from typing import Any

from somatrace.instrumentation.concurrency.threads import submit_in_context
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import ContextSnapshot

log = logging.getLogger("somatrace")


def install(coverage: Coverage) -> None:
    """Wait for the imports of gevent's modules."""
    when_imported("gevent", coverage, _greenlets)  # its modules replace themselves while they are imported
    when_imported("gevent.threadpool", coverage, _thread_pool, library="gevent.threadpool")


def _greenlets(module: ModuleType) -> None:
    module.Greenlet.add_spawn_callback(_spawned)


def _thread_pool(module: ModuleType) -> None:
    wrap_method(module.ThreadPool, "spawn", submit_in_context)


def _spawned(greenlet: Any) -> None:
    """Give a greenlet that has not started the context of the code that spawns it. Each has variables of its
    own, which start empty."""
    try:
        snapshot = ContextSnapshot()
        if snapshot.empty:
            return
        context = greenlet.gr_context
        if context is None:
            context = contextvars.Context()
        context.run(snapshot.enter)
        greenlet.gr_context = context
    except Exception:
        log.debug("a greenlet runs without the tags of the code that spawned it", exc_info=True)
