"""Keep the instrumentor's context inside langchain's runs, and end the spans of runs that langchain forgets.

Langchain tells handlers of the end of an asynchronous run in a task of its own, where the instrumentor cannot
take back the context that it has set at the start: the program went on in the finished span, with model
calls left out. The same follows from a fault of the instrumentor at the end of any run. Langchain tells
handlers nothing of models, tools and retrievers that are cancelled.
"""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import Status, StatusCode

from somatrace.context.collector_safety import context_variable
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.instrumentation.llm.isolation.framework_runs import in_own_context
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault

#: The methods that start a run, by module and class.
_RUNS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "langchain_core.language_models.chat_models": {
        "BaseChatModel": ("generate", "agenerate", "stream", "astream"),
    },
    "langchain_core.language_models.llms": {"BaseLLM": ("generate", "agenerate", "stream", "astream")},
    "langchain_core.retrievers": {"BaseRetriever": ("invoke", "ainvoke")},
    "langchain_core.runnables.base": {
        "Runnable": (
            "_call_with_config", "_acall_with_config", "_batch_with_config", "_abatch_with_config",
            "_transform_stream_with_config", "_atransform_stream_with_config",
        ),
        "RunnableParallel": ("invoke", "ainvoke"),
        "RunnableSequence": ("invoke", "ainvoke", "batch", "abatch"),
    },
    "langchain_core.tools.base": {"BaseTool": ("run", "arun")},
}  # fmt: skip

#: The runs that have started inside the current call of one of these methods, each with its handler.
_started: Final[ContextVar[list[tuple[Any, Any]] | None]] = context_variable("somatrace_runs", None)


def install(coverage: Coverage) -> None:
    """Wait for the imports of these classes."""
    for module, classes in _RUNS.items():
        for owner, methods in classes.items():
            hook = functools.partial(_watch, owner, methods)
            when_imported(module, coverage, hook, library="langchain runs")


def started(handler: Any, run: Any) -> None:
    """Note that `handler` has started a span for a run."""
    runs = _started.get()
    if runs is not None:
        runs.append((handler, run))


def end(handler: Any, run: Any, error: BaseException | None) -> None:
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
        method = getattr(getattr(module, owner, None), name, None)
        if method is None:
            continue
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            wrapper: Any = _streamed
        else:
            wrapper = _awaited if inspect.iscoroutinefunction(method) else _called
        wrap_method(getattr(module, owner), name, wrapper)


def _streamed(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    return in_own_context(call(*args, **kwargs))


def _called(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    runs: list[tuple[Any, Any]] = []
    outside = otel_context.get_current()
    token = _started.set(runs)
    try:
        return call(*args, **kwargs)
    except BaseException as error:
        _end_all(runs, error)
        raise
    finally:
        _started.reset(token)
        _return_to(outside)


async def _awaited(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
    runs: list[tuple[Any, Any]] = []
    outside = otel_context.get_current()
    token = _started.set(runs)
    try:
        return await call(*args, **kwargs)
    except BaseException as error:
        _end_all(runs, error)
        raise
    finally:
        _started.reset(token)
        _return_to(outside)


def _return_to(outside: otel_context.Context) -> None:
    if otel_context.get_current() is not outside:
        otel_context.attach(outside)


def _end_all(runs: list[tuple[Any, Any]], error: BaseException) -> None:
    for handler, run in reversed(runs):
        end(handler, run, error)
