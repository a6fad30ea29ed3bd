"""Detach contexts of instrumentors without a log line where this is not possible.

A generator that ends in another task or thread than it has begun in cannot detach. OpenTelemetry logs an
error with a traceback for it, on the program's stderr if it has set up no logging.
"""

from __future__ import annotations

from contextlib import suppress
from types import ModuleType
from typing import Any

from opentelemetry import context as otel_context

from somatrace.context.collector_safety import changing


def detach_quietly(module: ModuleType) -> None:
    """Let a module of an instrumentor detach quietly, under whatever name it imports the function."""
    for name, value in vars(module).copy().items():
        if value is otel_context:
            setattr(module, name, _QuietContext())
        elif value is otel_context.detach:
            setattr(module, name, detach)


def detach(token: Any) -> None:
    """Detach a context, if it was attached in this context of Python."""
    changing()
    with suppress(ValueError, RuntimeError):
        otel_context._RUNTIME_CONTEXT.detach(token)


class _QuietContext:
    """`opentelemetry.context`, with another `detach`."""

    detach = staticmethod(detach)

    def __getattr__(self, name: str) -> Any:
        return getattr(otel_context, name)
