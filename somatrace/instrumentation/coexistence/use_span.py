"""Keep OpenTelemetry's `use_span` from replacing the program's exception.

All spans of a `with tracer.start_as_current_span(...)` end there. It formats the exception for the status,
which raises another one if the exception has no text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation import _SPAN_KEY

from somatrace.runtime.fail_safe import text_of
from somatrace.runtime.type_names import type_name

#: What the function that is replaced uses. In a version with another body, it stays.
_NAMES: Final = frozenset(
    {"Exception", "Span", "Status", "StatusCode", "_SPAN_KEY", "attach", "context_api", "detach", "end",
     "is_recording", "record_exception", "set_status", "set_value", "isinstance", "type", "__name__", "ERROR"}
)  # fmt: skip


def install() -> None:
    """Replace the body of `use_span`, which other modules have imported by name."""
    function = getattr(trace.use_span, "__wrapped__", None)
    if not isinstance(function, FunctionType) or function.__kwdefaults__:
        return
    code = function.__code__
    if code.co_freevars or not set(code.co_names) <= _NAMES or code.co_argcount != 4:
        return
    function.__kwdefaults__ = {"described": _described}
    function.__code__ = _use_span.__code__


def _described(error: BaseException) -> str:
    return f"{type_name(error)}: {text_of(error)}"


def _use_span(  # with the globals of `opentelemetry.trace`
    span: Any,
    end_on_exit: bool = False,
    record_exception: bool = True,
    set_status_on_exception: bool = True,
    *,
    described: Callable[[BaseException], str],
) -> Iterator[Any]:
    """Activate the span in the current context, and record an exception that leaves the block."""
    try:
        token = context_api.attach(context_api.set_value(_SPAN_KEY, span))
        try:
            yield span
        finally:
            context_api.detach(token)
    except Exception as error:
        if isinstance(span, Span) and span.is_recording():
            if record_exception:
                span.record_exception(error)
            if set_status_on_exception:
                span.set_status(Status(status_code=StatusCode.ERROR, description=described(error)))
        raise
    finally:
        if end_on_exit:
            span.end()
