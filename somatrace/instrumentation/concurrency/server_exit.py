"""Servers that leave in a way of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method

log = logging.getLogger("somatrace")

#: Seconds the end of a server may take because of us.
EXIT_LIMIT: Final = 1.0


def install(coverage: Coverage, flush: Callable[[float], object]) -> None:
    """Wait for the import of uvicorn. `flush` sends what ended, within a number of seconds."""
    when_imported("uvicorn.server", coverage, lambda module: _uvicorn(module, flush))


def _uvicorn(module: ModuleType, flush: Callable[[float], object]) -> None:
    """Uvicorn raises the SIGTERM it was stopped by once more, which ends the process without `atexit`."""

    async def shutdown(wrapped: Any, server: object, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        await wrapped(*args, **kwargs)  # no request is under way after that
        try:
            flush(EXIT_LIMIT)
        except Exception:
            log.debug("no flush at the end of the server", exc_info=True)

    wrap_method(module.Server, "shutdown", shutdown)
