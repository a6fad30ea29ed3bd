"""Isolate the wrappers of an instrumentor, before it instruments its library."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import context

from somatrace.instrumentation.llm.isolation.bodies import after_reading
from somatrace.instrumentation.llm.isolation.framework_runs import around_run
from somatrace.instrumentation.llm.isolation.framework_values import PassiveAttributes, arguments_for, copied
from somatrace.instrumentation.llm.isolation.guarded_calls import Wrapper, around_call, around_method
from somatrace.instrumentation.llm.isolation.noted_spans import NotingProvider
from somatrace.instrumentation.llm.isolation.passive import arguments_of
from somatrace.instrumentation.llm.isolation.quiet_context import detach_quietly
from somatrace.instrumentation.llm.isolation.stored_answers import recorded_once
from somatrace.instrumentation.loaded_modules import modules_of
from somatrace.libraries import Library

#: Instrumentors whose wrappers work on more than one call.
_OTHERS: Final = ("sqlalchemy",)
#: Libraries that hand on objects of their own, as frameworks do.
_LIKE_FRAMEWORKS: Final = ("mcp",)
#: Methods whose instrumentor replaces an argument or the answer on purpose: AWS's factories of clients and
#: OpenAI's assistants.
_REPLACED: Final = ("ClientCreator.", "AioSession.", "Assistants.", "Runs.", "Messages.list")
#: Methods that stay as they are. The instrumentor gives the program another realtime connection than
#: OpenAI's, which is no context manager for a synchronous client. aiobotocore's session is instrumented in
#: the method that calls `create_client`: its clients would have two spans for each call.
_LEFT_OUT: Final = ("AsyncRealtime.connect", "Realtime.connect", "Session.create_client")
#: Methods whose instrumentor gives streams of its own to the program on purpose: MCP's transports.
_TRANSPORTS: Final = ("connect_sse", "sse_client", "stdio_client", "stdio_server", "streamablehttp_client",
    "StreamableHTTPServerTransport.connect")  # fmt: skip
#: Methods whose instrumentor reads attributes of the instance that come from the program: langgraph's, and
#: those of agno's agents, teams and calls of tools.
_GIVEN_ATTRIBUTES: Final = ("Command.__init__", "Agent.run", "Agent.arun", "Team.run", "Team.arun",
    "FunctionCall.execute", "FunctionCall.aexecute")  # fmt: skip
#: Further packages whose objects a framework hands on.
_FAMILIES: Final = {
    "langchain": ("langchain", "langchain_openai", "langgraph"),
    "llama_index": ("llama_index", "llama_index_instrumentation", "workflows"),
    "openai_agents": ("openai",),
}
#: Methods whose instrumentor makes a span beside that of the framework or gateway that calls them.
_RESPONSES: Final = "Responses."
#: Modules that an instrumentor imports only when it instruments.
_LATER: Final = {"openai": "v1"}
#: Functions of instrumentors that read the bodies of answers.
_READERS: Final = {"bedrock": ("_handle_call", "_handle_async_call"), "sagemaker": ("_handle_call",)}
#: Functions of the AWS instrumentors that instrument a method of a client.
_FACTORIES: Final = "_instrumented_"


def isolate(library: Library) -> dict[str, Any]:
    """Isolate the instrumentor of `library`. Returns the arguments that its instrumentor needs for it."""
    if library.name in _OTHERS:
        return {}
    package = library.instrumentor_module
    if library.name in _LATER:
        importlib.import_module(f"{package}.{_LATER[library.name]}")
    is_framework = library.role == "framework" or library.name in _LIKE_FRAMEWORKS
    around = _framework(library) if is_framework else _client(library)
    for _, module in modules_of(package):
        detach_quietly(module)
        wrap = getattr(module, "wrap_function_wrapper", None)
        if wrap is not None:
            module.wrap_function_wrapper = _wrapping(wrap, around)  # type: ignore[attr-defined]
        for factory in [name for name in list(vars(module)) if name.startswith(_FACTORIES)]:
            arguments = arguments_of(data_packages(library))
            setattr(module, factory, around_method(getattr(module, factory), arguments, library.name))
        for reader in _READERS.get(library.name, ()):
            if hasattr(module, reader):
                setattr(module, reader, after_reading(getattr(module, reader)))
    return {"tracer_provider": NotingProvider()}


def data_packages(library: Library) -> tuple[str, ...]:
    """The packages whose data types an instrumentor may read."""
    names = (*library.import_names, *library.modules, *_FAMILIES.get(library.name, ()))
    return tuple(dict.fromkeys(name for name in names if not name.endswith("*")))


def _client(library: Library) -> Callable[[Wrapper, str], Wrapper]:
    arguments = arguments_of(data_packages(library))
    return lambda wrapper, name: around_call(wrapper, arguments, name)


def _framework(library: Library) -> Callable[[Wrapper, str], Wrapper]:
    packages = data_packages(library)
    read = functools.partial(copied, packages=packages)

    def around(wrapper: Wrapper, name: str) -> Wrapper:
        if any(part in name for part in _TRANSPORTS):
            return wrapper
        if name not in _GIVEN_ATTRIBUTES:
            return around_run(wrapper, arguments_for(name, packages), name, read)

        def with_attributes(call: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            return wrapper(call, PassiveAttributes(instance, packages), args, kwargs)

        return around_run(with_attributes, arguments_for(name, packages), name, read)

    return around


def _wrapping(wrap: Callable[..., Any], around: Callable[[Wrapper, str], Wrapper]) -> Callable[..., Any]:
    def wrap_function_wrapper(target: Any, name: str, wrapper: Any) -> Any:
        if name in _LEFT_OUT:
            return None
        if any(part in name for part in _REPLACED):
            return wrap(target, name, wrapper)
        if _RESPONSES in name:
            wrapper = _unless_suppressed(recorded_once(wrapper, name))
        return wrap(target, name, around(wrapper, name))

    return wrap_function_wrapper


def _unless_suppressed(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper, except in calls of a framework or gateway whose own span reports the request."""
    from opentelemetry.semconv_ai import SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY

    @functools.wraps(wrapper)
    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        if context.get_value(SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY):
            return wrapped(*args, **kwargs)
        return wrapper(wrapped, instance, args, kwargs)

    return called
