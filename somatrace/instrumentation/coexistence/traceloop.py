"""Run traceloop's decorators (`@workflow`, `@task`, `@agent`, `@tool`) without `Traceloop.init`.

Without that call each decorated call prints a warning and makes no span. With it a second pipeline starts,
with its own exporter, threads and exit handler. So the decorators are given a fallback tracer on
somatrace's provider. A program that calls `Traceloop.init` itself still gets that pipeline, behind the guard.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace

from somatrace import semconv
from somatrace.context.span_state import SpanState, state_of
from somatrace.instrumentation.content_capture import ContentCapture
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported

LIBRARY: Final = "traceloop"
#: Context keys that the decorators set, and the attributes they become on each span below.
_CONTEXT_KEYS: Final = {
    "workflow_name": "traceloop.workflow.name",
    "agent_name": semconv.AGENT_NAME,
    "conversation_id": "gen_ai.conversation.id",
    "entity_path": "traceloop.entity.path",
}


def install(coverage: Coverage, capture: ContentCapture) -> None:
    """Wait for the import of traceloop-sdk. None of it is imported here."""
    when_imported(
        "traceloop.sdk", coverage, lambda sdk: FallbackTracer(sdk, coverage, capture).begin(), library=LIBRARY
    )
    when_imported(
        "traceloop.sdk.decorators.base",
        coverage,
        lambda _: capture.gate("traceloop.sdk"),
        library=f"{LIBRARY} decorators",
    )


class AssociationProcessor:
    """A span processor that copies the decorators' names to the spans started inside them.

    traceloop's own does that too, and also copies association properties, which are attached and never
    detached: in a consumer loop they would stay on the next job. They are left out here.
    """

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        values = {key: otel_context.get_value(key, parent_context) for key in _CONTEXT_KEYS}
        for key, value in values.items():
            if value is not None:
                span.set_attribute(_CONTEXT_KEYS[key], str(value))
        # third-party processors get a guarded span; the span state is on the span itself
        state = state_of(getattr(span, "_somatrace_span", span))
        if state is not None:
            _derive_tags(state, values["workflow_name"], values["agent_name"])

    def _on_ending(self, span: Any) -> None:
        """Do nothing: everything is set at the start."""

    def on_end(self, span: Any) -> None:
        """Do nothing: the pipeline exports."""

    def shutdown(self) -> None:
        """Do nothing: there are no resources to release."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the SDK's signature
        return True


def _derive_tags(state: SpanState, workflow: object, agent: object) -> None:
    """Derive the tags from the outermost workflow and the innermost agent, as `span` does; bound tags win."""
    tags = state.tags
    if workflow is not None and semconv.WORKFLOW not in tags:
        tags = tags.deriving(**{semconv.WORKFLOW: str(workflow)[:128]})
    if agent is not None:
        tags = tags.deriving(**{semconv.AGENT: str(agent)[:128]})
    state.tags = tags


class FallbackTracer:
    """The tracer that traceloop's decorators use while the program has not called `Traceloop.init`."""

    def __init__(self, sdk: ModuleType, coverage: Coverage, capture: ContentCapture) -> None:
        from traceloop.sdk.tracing.tracing import TracerWrapper

        self._sdk = sdk
        self._wrapper: Any = TracerWrapper
        self._coverage = coverage
        self._capture = capture
        self._fallback: object | None = None

    def begin(self) -> str | None:
        """Set the fallback now and after each later `Traceloop.init`. Returns the state for `status()`."""
        import wrapt

        self._capture.gate("traceloop.sdk")
        wrapt.wrap_function_wrapper(self._sdk, "Traceloop.init", self._around_init)
        add = getattr(trace.get_tracer_provider(), "add_span_processor", None)
        if add is not None:
            add(AssociationProcessor())
        return self._set_fallback()

    def _set_fallback(self) -> str | None:
        """Become the decorators' tracer, unless `Traceloop.init` has created another one."""
        if hasattr(self._wrapper, "instance"):
            state = (
                "two pipelines run: Traceloop.init started one beside somatrace's, which gets guarded copies"
            )
            self._coverage.problem(f"{LIBRARY}: {state}; remove the call, the decorators work without it")
            return f"on; {state}"
        # the class's own __new__ would start exporter, threads and exit handler
        fallback = object.__new__(self._wrapper)
        fallback._TracerWrapper__tracer_provider = trace.get_tracer_provider()
        self._fallback = self._wrapper.instance = fallback
        return None

    def _around_init(self, init: Any, _: object, args: Any, kwargs: Any) -> Any:
        if getattr(self._wrapper, "instance", None) is self._fallback and self._fallback is not None:
            del self._wrapper.instance
        try:
            return init(*args, **kwargs)
        finally:
            state = self._set_fallback()
            if state is not None:
                self._coverage.set(LIBRARY, state)
