"""Flush spans when a server exits without running `atexit`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.runtime.limits import EXIT_LIMIT

log = logging.getLogger("somatrace")


def install(coverage: Coverage, flush: Callable[[float], object]) -> None:
    """Wait for the import of uvicorn. `flush` sends the ended spans within the given seconds."""
    when_imported("uvicorn.server", coverage, lambda module: _uvicorn(module, flush))


def _uvicorn(module: ModuleType, flush: Callable[[float], object]) -> None:
    """Flush at shutdown: uvicorn then raises the SIGTERM that stopped it again, which skips `atexit`."""

    async def shutdown(wrapped: Any, server: object, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        await wrapped(*args, **kwargs)  # completes all requests
        try:
            flush(EXIT_LIMIT)
        except Exception:
            log.debug("no flush at the exit of the server", exc_info=True)

    wrap_method(module.Server, "shutdown", shutdown)
