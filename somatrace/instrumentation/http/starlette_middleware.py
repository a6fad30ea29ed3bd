"""Starlette's own `OpenTelemetryMiddleware` (1.7 and later): a server span of each HTTP request."""

from __future__ import annotations

import sys
from typing import Any, Final

from opentelemetry import trace

_MODULE: Final = "starlette.middleware.opentelemetry"


def has_tracing_middleware(app: Any) -> bool:
    """Whether it is among the app's middleware, with the provider that all use.

    Its spans of a provider of its own are not seen here, and do not replace any.
    """
    native = getattr(sys.modules.get(_MODULE), "OpenTelemetryMiddleware", None)
    if native is None:
        return False
    return any(
        getattr(middleware, "cls", None) is native
        and middleware.kwargs.get("tracer_provider") in (None, trace.get_tracer_provider())
        for middleware in getattr(app, "user_middleware", ())
    )
