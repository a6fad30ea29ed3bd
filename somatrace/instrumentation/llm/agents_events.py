"""Isolate the processor by which the instrumentor of openai-agents gets the runs of a program.

The instrumentor encodes what agents get and tools return with code of the program, and leaves a span open and
current if that fails. Its wrappers of realtime sessions swallow the exceptions of the session.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry.trace import Status, StatusCode

from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.instrumentation.llm.isolation.passive import Unread
from somatrace.instrumentation.llm.isolation.quiet_context import detach
from somatrace.runtime.fail_safe import from_a_signal

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
