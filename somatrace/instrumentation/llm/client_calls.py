"""Mark the requests of LLM clients, so that model providers get no trace headers or tags.

The instrumentors' spans are not enough: some are not current while the request is sent, and there are no
spans if the instrumentor failed to load.
"""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

from somatrace.instrumentation.call_context import llm_call
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.libraries import LIBRARIES, RequestMethods


def install(coverage: Coverage) -> None:
    """Wait for the imports of the LLM clients."""
    for library in LIBRARIES:
        if library.requests is not None:
            when_imported(
                library.requests.module,
                coverage,
                functools.partial(_mark, library.requests),
                library=f"{library.name} client",
            )


def _mark(requests: RequestMethods, module: ModuleType) -> None:
    for owner in requests.classes:
        for method in requests.methods:
            function = getattr(getattr(module, owner, None), method, None)
            if function is not None:
                wrapper = _awaited if inspect.iscoroutinefunction(function) else _called
                wrap_method(getattr(module, owner), method, wrapper)


def _called(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    with llm_call():
        return wrapped(*args, **kwargs)


async def _awaited(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    with llm_call():
        return await wrapped(*args, **kwargs)
