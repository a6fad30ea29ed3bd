"""Isolate the processor by which the instrumentor of openai-agents gets the runs of a program.

The instrumentor encodes what agents get and tools return with code of the program, and leaves a span open and
current if that fails. Its wrappers of realtime sessions swallow the exceptions of the session, and end its
spans only where an `async with` block ends it, without the error of the block.
"""

from __future__ import annotations

import functools
import importlib
import json
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode

from somatrace import semconv
from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.instrumentation.llm.isolation.passive import Unread
from somatrace.instrumentation.llm.isolation.quiet_context import detach
from somatrace.runtime.fail_safe import fail_safe, from_a_signal, text_of
from somatrace.runtime.type_names import type_name

_NAME: Final = "openai_agents"


def isolate_processor(package: str, packages: tuple[str, ...]) -> None:
    """Isolate the processor of the instrumentor `package`, before it instruments its loaded library."""
    hooks: Any = importlib.import_module(f"{package}._hooks")
    passive = functools.partial(copied, packages=packages)
    _replace(
        hooks,
        {
            "_extract_prompt_attributes": lambda span, prompt, wanted: (span, passive(prompt), wanted),
            "_extract_response_attributes": lambda *args: args,
            "_extract_tool_definitions": lambda tools: (passive(tools),),
        },
    )
    processor = hooks.OpenTelemetryTracingProcessor
    _replace(processor, {"_end_function_span": _texts_of_tool})
    processor.on_span_end = _ended(processor.on_span_end)
    with suppress(ModuleNotFoundError):  # of an older instrumentor
        sessions: Any = importlib.import_module(f"{package}._realtime_wrappers")
        # it surrounds the call of the session as well; the wrappers catch their own exceptions inside
        sessions.dont_throw = lambda wrapper: wrapper
        _end_with_sessions(sessions)


def _end_with_sessions(sessions: Any) -> None:
    """End the spans of a realtime session with the session, however the program closes or abandons it.

    The instrumentor then wraps these methods, and finds no spans left at the end of an `async with` block.
    """
    library: Any = importlib.import_module("agents.realtime.session").RealtimeSession
    open_sessions: dict[int, Any] = sessions._tracing_states
    enter, close, leave = library.__aenter__, library.close, library.__aexit__

    @functools.wraps(enter)
    async def entering(self: Any) -> Any:
        entered = await enter(self)
        with fail_safe("realtime session"):
            weakref.finalize(self, _end_abandoned, open_sessions, id(self)).atexit = False
        return entered

    @functools.wraps(close)
    async def closing(self: Any) -> Any:
        failed: BaseException | None = None
        try:
            return await close(self)
        except BaseException as error:
            failed = error
            raise
        finally:
            with fail_safe("realtime session"):
                _end_session(open_sessions.pop(id(self), None), failed)

    @functools.wraps(leave)
    async def leaving(self: Any, kind: Any, error: BaseException | None, trace: Any) -> Any:
        state = open_sessions.get(id(self))
        if state is not None:
            state.somatrace_error = error
        return await leave(self, kind, error, trace)

    library.__aenter__, library.close, library.__aexit__ = entering, closing, leaving


def _end_abandoned(open_sessions: dict[int, Any], key: int) -> None:
    with fail_safe("realtime session"):
        _end_session(open_sessions.pop(key, None), None)


def _end_session(state: Any, failed: BaseException | None) -> None:
    if state is None:
        return
    error = getattr(state, "somatrace_error", None) or failed
    if error is not None and state.workflow_span is not None:
        with fail_safe("realtime session"):
            state.workflow_span.record_exception(error)
            state.workflow_span.set_attribute(semconv.ERROR_TYPE, type_name(error))
            state.workflow_span.set_status(StatusCode.ERROR, text_of(error))
        state.workflow_span.end()
        state.workflow_span = None
    state.cleanup()


def _replace(owner: Any, methods: Mapping[str, Callable[..., tuple[Any, ...]]]) -> None:
    for name, arguments in methods.items():
        if hasattr(owner, name):
            setattr(owner, name, _guarded(getattr(owner, name), arguments))


def _guarded(method: Any, arguments: Callable[..., tuple[Any, ...]]) -> Any:
    """The method with other arguments. Its fault costs what it would have recorded."""

    @functools.wraps(method)
    def record(*args: Any) -> Any:
        try:
            return method(*arguments(*args))
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault(_NAME, error)
            return None

    return record


def _texts_of_tool(processor: Any, span: Any, data: Any, wanted: bool) -> tuple[Any, ...]:
    given = SimpleNamespace(input=_text(data.input), output=_text(data.output)) if wanted else data
    return processor, span, given, wanted


def _text(value: Any) -> str | None:
    passive = copied(value, ())
    if passive is None or type(passive) is Unread:
        return None
    return passive if isinstance(passive, str) else json.dumps(passive, default=str)


def _ended(method: Any) -> Any:
    @functools.wraps(method)
    def on_span_end(self: Any, span: Any) -> None:
        """End a span that the method, which logs its own exceptions, has left open."""
        method(self, span)
        left = self._otel_spans.pop(span, None)
        if left is None:
            return
        if span.error:
            left.set_status(Status(StatusCode.ERROR))
        left.end()
        for name in ("_span_contexts", "_agent_name_tokens"):
            if (token := getattr(self, name, {}).pop(span, None)) is not None:
                detach(token)

    return on_span_end
