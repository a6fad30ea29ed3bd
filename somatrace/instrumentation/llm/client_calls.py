"""Marks the own work of LLM clients, so that nothing of ours goes to a model provider.

The instrumentors' spans are not enough: some are not current while the request is sent, and none is
there when an instrumentor failed to load.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.call_context import llm_call
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method

#: Module -> (classes, methods) through which each of its requests goes.
_CLIENTS: Final = {
    **{
        f"{library}._base_client": (("SyncAPIClient", "AsyncAPIClient"), ("request",))
        for library in ("anthropic", "cerebras.cloud.sdk", "groq", "openai", "together")
    },
    "litellm.llms.custom_httpx.http_handler": (
        ("HTTPHandler", "AsyncHTTPHandler"),
        ("delete", "get", "patch", "post", "put"),
    ),
}


def install(coverage: Coverage) -> None:
    """Wait for the imports of the LLM clients."""
    for module, (classes, methods) in _CLIENTS.items():
        when_imported(
            module,
            coverage,
            lambda loaded, classes=classes, methods=methods: _mark(loaded, classes, methods),  # type: ignore[misc]
            library=f"{module.partition('.')[0]} client",
        )


def _mark(module: ModuleType, classes: tuple[str, ...], methods: tuple[str, ...]) -> None:
    for owner in classes:
        for method in methods:
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
