"""Isolate the handler by which langchain's instrumentor gets the events of runs.

Langchain calls its methods in the middle of the program's runs, with the program's own objects, and logs
their faults on the program's stderr.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import FunctionType
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.instrumentation.llm.isolation.passive import Unread
from somatrace.runtime.fail_safe import from_a_signal

#: The arguments of events that hold content, which the handler reads only where content may be recorded.
_CONTENT: Final = frozenset(
    ("documents", "input_str", "inputs", "messages", "output", "outputs", "prompts", "query")
)
#: The events whose second argument without a name is content, after the description of the run's object.
_STARTS: Final = "_start"
#: Runs whose end langchain does not report if they are cancelled or interrupted.
_UNREPORTED: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "langchain_core.language_models.chat_models": {"BaseChatModel": ("agenerate",)},
    "langchain_core.language_models.llms": {"BaseLLM": ("agenerate",)},
    "langchain_core.retrievers": {"BaseRetriever": ("invoke", "ainvoke")},
    "langchain_core.tools.base": {"BaseTool": ("run", "arun")},
}

#: The runs that have started inside the current call of one of these methods, each with its handler.
_started: Final[ContextVar[list[tuple[Any, Any]] | None]] = ContextVar("somatrace_runs", default=None)


def add_handler(package: str) -> None:
    """Add the instrumentor's handler to callback managers without changing the program's own lists.

    To be called before the instrumentor `package` instruments.
    """
    module: Any = sys.modules.get(package)
    if hasattr(module, "_BaseCallbackManagerInitWrapper"):
        module._BaseCallbackManagerInitWrapper = _adding


def _adding(handler: Any) -> Callable[..., Any]:
    def added(call: Any, manager: Any, _: Any, __: Any) -> None:
        call()
        inheritable = manager.inheritable_handlers
        if any(type(one) is type(handler) for one in list.__iter__(inheritable)):
            return
        if not any(one is handler for one in list.__iter__(manager.handlers)):
            manager.handlers = [*list.__iter__(manager.handlers), handler]
        manager.inheritable_handlers = [*list.__iter__(inheritable), handler]

    return added


def isolate_handler(package: str, packages: tuple[str, ...]) -> None:
    """Let the handler of the instrumentor take every event, with nothing but copies of the program's values.

    Events without a method of its own are ignored: it is also in the managers of libraries above langchain,
    such as langgraph with its `on_interrupt`.
    """
    module: Any = sys.modules.get(f"{package}.callback_handler")
    handler: Any = getattr(module, "TraceloopCallbackHandler", None)
    if handler is None or hasattr(handler, "__getattr__"):
        return
    wanted = getattr(module, "should_send_prompts", lambda: False)
    for name, method in list(vars(handler).items()):
        if name.startswith("on_") and isinstance(method, FunctionType):
            setattr(handler, name, _isolated(name, method, packages, wanted))
    handler.__getattr__ = _unknown


def watch_runs(coverage: Coverage) -> None:
    """End the spans of runs that are left by an exception of which langchain tells no handler."""
    for module, classes in _UNREPORTED.items():
        for owner, methods in classes.items():
            when_imported(
                module, coverage, functools.partial(_watch, owner, methods), library="langchain runs"
            )


def _isolated(
    name: str, method: Callable[..., Any], packages: tuple[str, ...], wanted: Callable[[], Any]
) -> Callable[..., Any]:
    at = 1 if name.endswith(_STARTS) else 0
    has_content = not name.endswith("_error") and name != "on_llm_end"

    @functools.wraps(method)
    def event(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            record = bool(wanted())

            def of(value: Any, content: bool) -> Any:
                if content and not record:
                    return Unread()
                return value if issubclass(type(value), BaseException) else copied(value, packages)

            method(
                self,
                *(of(value, has_content and place == at) for place, value in enumerate(args)),
                **{key: of(value, key in _CONTENT) for key, value in kwargs.items()},
            )
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault(f"langchain {name}", error)
        if name.endswith(_STARTS):
            runs = _started.get()
            if runs is not None:
                runs.append((self, kwargs.get("run_id")))
        else:
            _end(self, kwargs.get("run_id"), args[0] if name.endswith("_error") and args else None)

    return event


def _end(handler: Any, run: Any, error: BaseException | None) -> None:
    """End the span of a run, if it is still open."""
    try:
        holder = handler.spans.get(run)
        if holder is None:
            return
        if error is not None:
            holder.span.record_exception(error)
            holder.span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        handler._end_span(holder.span, run)
    except Exception as fault:
        log_fault("langchain", fault)


def _watch(owner: str, methods: tuple[str, ...], module: Any) -> None:
    for name in methods:
        if hasattr(getattr(module, owner, None), name):
            wrap_method(getattr(module, owner), name, _watched_async if name[0] == "a" else _watched)


def _watched(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    runs: list[tuple[Any, Any]] = []
    token = _started.set(runs)
    try:
        return call(*args, **kwargs)
    except BaseException as error:
        _end_all(runs, error)
        raise
    finally:
        _started.reset(token)


async def _watched_async(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    runs: list[tuple[Any, Any]] = []
    token = _started.set(runs)
    try:
        return await call(*args, **kwargs)
    except BaseException as error:
        _end_all(runs, error)
        raise
    finally:
        _started.reset(token)


def _end_all(runs: list[tuple[Any, Any]], error: BaseException) -> None:
    for handler, run in reversed(runs):
        _end(handler, run, error)


def _unknown(handler: object, name: str) -> Any:
    if name.startswith("on_"):
        return _ignore
    raise AttributeError(f"{type(handler).__name__!r} object has no attribute {name!r}")


def _ignore(*_: object, **__: object) -> None:
    """Do nothing with an event."""
