"""Isolate the handler by which llama-index's instrumentor gets the runs of a program, and end all its spans.

The instrumentor reads what the program passes and gets with code of the program (`to_json`, `dict`), and
leaves the span of a run open that fails or is cancelled.
"""

from __future__ import annotations

import functools
import sys
from types import SimpleNamespace
from typing import Any

from opentelemetry.trace import Status, StatusCode

from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.runtime.fail_safe import from_a_signal


def isolate_handler(package: str, packages: tuple[str, ...]) -> None:
    """Isolate the handler of the loaded `package`. To be called before it instruments."""
    module: Any = sys.modules.get(f"{package}.dispatcher_wrapper")
    handler = getattr(module, "OpenLLMetrySpanHandler", None)
    if handler is None:
        return
    wanted = getattr(module, "should_send_prompts", lambda: False)

    def passive(value: Any) -> Any:
        return copied(value, packages) if wanted() else None

    handler.new_span = _started(handler.new_span, passive)
    handler.prepare_to_exit_span = _ended(handler.prepare_to_exit_span, passive)
    handler.prepare_to_drop_span = _dropped(handler.prepare_to_drop_span)


def _started(method: Any, passive: Any) -> Any:
    @functools.wraps(method)
    def new_span(self: Any, id_: str, bound_args: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            given = SimpleNamespace(arguments=passive(bound_args.arguments) or {})
            return method(self, id_, given, *args, **kwargs)
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault("llama_index", error)
            return None

    return new_span


def _ended(method: Any, passive: Any) -> Any:
    @functools.wraps(method)
    def prepare_to_exit_span(self: Any, id_: str, *args: Any, **kwargs: Any) -> Any:
        holder = self.open_spans.get(id_)
        try:
            result = kwargs.get("result")
            if not any(hasattr(type(result), name) for name in ("__next__", "__anext__", "response_gen")):
                kwargs["result"] = passive(result)
            return method(self, id_, *args, **kwargs)
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault("llama_index", error)
            return holder

    return prepare_to_exit_span


def _dropped(method: Any) -> Any:
    @functools.wraps(method)
    def prepare_to_drop_span(self: Any, *args: Any, err: BaseException | None = None, **kwargs: Any) -> Any:
        holder = None
        try:
            holder = method(self, *args, err=err, **kwargs)
            if holder is not None:
                span = holder.otel_span
                if span is not None and err is not None:
                    span.record_exception(err)
                    span.set_status(Status(StatusCode.ERROR, type(err).__name__))
                holder.end()
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault("llama_index", error)
        return holder

    return prepare_to_drop_span
