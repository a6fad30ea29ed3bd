"""Have OpenTelemetry's `attach` and `detach` survive finalizers that change context variables meanwhile.

See `collector_safety`: instrumentors and programs change the trace context through these two functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from opentelemetry import context as otel_context


class _Held:
    """A function of one argument that changes a context variable, while a copy of the context is held."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __call__(self, given: Any) -> Any:
        _held = copy_context()
        return self._function(given)


def hold_context_changes() -> None:
    """Hold a copy of the context during each change, before Python 3.12. Does nothing when called again."""
    runtime = getattr(otel_context, "_RUNTIME_CONTEXT", None)
    if sys.version_info >= (3, 12) or runtime is None or isinstance(runtime.attach, _Held):
        return
    runtime.attach, runtime.detach = _Held(runtime.attach), _Held(runtime.detach)
