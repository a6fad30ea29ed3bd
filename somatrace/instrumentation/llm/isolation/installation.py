"""Isolate the wrappers of an instrumentor, before it instruments its library."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.bodies import after_reading
from somatrace.instrumentation.llm.isolation.guarded_calls import around_call, around_method
from somatrace.instrumentation.llm.isolation.noted_spans import NotingProvider
from somatrace.libraries import Library

#: Instrumentors whose wrappers work on more than one call. `mcp_errors` does this for mcp.
_OTHERS: Final = ("mcp", "sqlalchemy")
#: Methods whose instrumentor replaces an argument or the answer on purpose: AWS's factories of clients,
#: OpenAI's assistants and its realtime connections.
_REPLACED: Final = ("ClientCreator.", "AioSession.", "Assistants.", "Runs.", "Messages.list", "Realtime.")
#: Methods whose calls another instrumented method makes: their clients would have two spans for each call.
_TWICE: Final = ("Session.create_client",)
#: Modules that an instrumentor imports only when it instruments.
_LATER: Final = {"openai": "v1"}
#: Functions of instrumentors that read the bodies of answers.
_READERS: Final = {"bedrock": ("_handle_call", "_handle_async_call"), "sagemaker": ("_handle_call",)}
#: Functions of the AWS instrumentors that instrument a method of a client.
_FACTORIES: Final = "_instrumented_"


def isolate(library: Library) -> dict[str, Any]:
    """Isolate the instrumentor of `library`. Returns the arguments that its instrumentor needs for it."""
    if library.role == "framework" or library.name in _OTHERS:
        return {}
    packages = tuple(dict.fromkeys((*library.import_names, *library.modules)))
    package = library.instrumentor_module
    if library.name in _LATER:
        importlib.import_module(f"{package}.{_LATER[library.name]}")
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(package + "."):
            wrap = getattr(module, "wrap_function_wrapper", None)
            if wrap is not None:
                module.wrap_function_wrapper = _wrapping(wrap, packages)  # type: ignore[attr-defined]
            for factory in [name for name in vars(module) if name.startswith(_FACTORIES)]:
                around = around_method(getattr(module, factory), packages, library.name)
                setattr(module, factory, around)
            for reader in _READERS.get(library.name, ()):
                if hasattr(module, reader):
                    setattr(module, reader, after_reading(getattr(module, reader)))
    return {"tracer_provider": NotingProvider()}


def _wrapping(wrap: Callable[..., Any], packages: tuple[str, ...]) -> Callable[..., Any]:
    def wrap_function_wrapper(target: Any, name: str, wrapper: Any) -> Any:
        if name in _TWICE:
            return None
        if any(part in name for part in _REPLACED):
            return wrap(target, name, wrapper)
        return wrap(target, name, around_call(wrapper, packages, name))

    return wrap_function_wrapper
