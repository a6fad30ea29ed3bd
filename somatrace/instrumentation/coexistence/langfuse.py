"""Keep the langfuse SDK from adding a second span to calls that are instrumented already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Final

from opentelemetry import context as otel_context

from somatrace.instrumentation.call_context import uninstrumented
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported

#: Set by the instrumentors of litellm and langchain around a client's call that their own span covers.
_COVERED: Final = "suppress_language_model_instrumentation"
_TWICE: Final = "makes a second span with tokens for each call, so its cost counts twice"


def install(coverage: Coverage) -> None:
    """Wait for the imports of those modules. `@observe`, `get_client` and the rest need no changes."""
    when_imported("langfuse.openai", coverage, _one_span, library="langfuse.openai")
    when_imported("langfuse.langchain", coverage, lambda _: _report(coverage), library="langfuse.langchain")


def _report(coverage: Coverage) -> str:
    coverage.problem(f"langfuse.langchain: {_TWICE}; remove its CallbackHandler")
    return f"off; {_TWICE}"


def _one_span(module: ModuleType) -> None:
    """Make the span of `langfuse.openai`, which wraps openai for the whole process, the only one of a call,
    or omit it if a framework's span covers the call."""
    import wrapt

    for resource in module.OPENAI_METHODS_V1:
        with suppress(AttributeError, ImportError):  # not in this version of openai
            wrapper = _called if resource.sync else _awaited
            wrapt.wrap_function_wrapper(resource.module, f"{resource.object}.{resource.method}", wrapper)


def _called(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
    with _without_second_span(wrapped) as call:
        return call(*args, **kwargs)


async def _awaited(wrapped: Any, _: object, args: Any, kwargs: Any) -> Any:
    with _without_second_span(wrapped) as call:
        return await call(*args, **kwargs)


@contextmanager
def _without_second_span(call: Any) -> Iterator[Any]:
    import wrapt

    if otel_context.get_value(_COVERED):
        while isinstance(call, (wrapt.BoundFunctionWrapper, wrapt.FunctionWrapper)):
            call = call.__wrapped__
        yield call
        return
    token = otel_context.attach(uninstrumented(otel_context.set_value(_COVERED, True)))
    try:
        yield call
    finally:
        otel_context.detach(token)
