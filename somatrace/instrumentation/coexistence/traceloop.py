"""traceloop's decorators (`@workflow`, `@task`, `@agent`, `@tool`) on our provider, without `Traceloop.init`.

Without it each decorated call prints a warning and makes no span. With it a second pipeline starts,
with an exporter, threads and an exit handler of its own. So the decorators are lent what they ask
for: an object that has a tracer. A program that calls `Traceloop.init` itself gets what it asks for,
behind the wall.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace

from somatrace import semconv
from somatrace.context.span_state import SpanState, state_of
from somatrace.instrumentation.content_capture import gate
from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported

LIBRARY: Final = "traceloop"
#: What the decorators leave in the context, and the attribute it becomes on each span below.
_CARRIED: Final = {
    "workflow_name": "traceloop.workflow.name",
    "agent_name": semconv.AGENT_NAME,
    "conversation_id": "gen_ai.conversation.id",
    "entity_path": "traceloop.entity.path",
}


def install(coverage: Coverage) -> None:
    """Wait for the import of traceloop-sdk; nothing of it is imported here."""
    when_imported(
        "traceloop.sdk", coverage, lambda sdk: FallbackTracer(sdk, coverage).begin(), library=LIBRARY
    )
    when_imported(
        "traceloop.sdk.decorators.base",
        coverage,
        lambda _: gate("traceloop.sdk"),
        library=f"{LIBRARY} decorators",
    )


class AssociationProcessor:
    """A span processor that puts what the decorators said on the spans started inside them.

    traceloop's own does that too, and also carries association properties, which are attached and never
    detached: in a consumer loop they mark the next job. Ours are scoped, so those stay out.
    """

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        said = {key: otel_context.get_value(key, parent_context) for key in _CARRIED}
        for key, value in said.items():
            if value is not None:
                span.set_attribute(_CARRIED[key], str(value))
        # the wall hands out a guarded view of the span; the stamp lies on the span itself
        state = state_of(getattr(span, "_somatrace_span", span))
        if state is not None:
            _derive(state, said["workflow_name"], said["agent_name"])

    def _on_ending(self, span: Any) -> None:
        """Nothing: all is said at the start."""

    def on_end(self, span: Any) -> None:
        """Nothing: the road exports."""

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - the SDK's signature
        return True


def _derive(state: SpanState, workflow: object, agent: object) -> None:
    """The outermost workflow and the innermost agent name the work, as with `span`; bound tags win."""
    tags = state.tags
    if workflow is not None and semconv.WORKFLOW not in tags:
        tags = tags.deriving(**{semconv.WORKFLOW: str(workflow)[:128]})
    if agent is not None:
        tags = tags.deriving(**{semconv.AGENT: str(agent)[:128]})
    state.tags = tags


class FallbackTracer:
    """The tracer that traceloop's decorators use while the program has not called `Traceloop.init`."""

    def __init__(self, sdk: ModuleType, coverage: Coverage) -> None:
        from traceloop.sdk.tracing.tracing import TracerWrapper

        self._sdk = sdk
        self._wrapper: Any = TracerWrapper
        self._coverage = coverage
        self._lent: object | None = None

    def begin(self) -> str | None:
        """Lend now and around each later `Traceloop.init`; what `status()` says."""
        gate("traceloop.sdk")
        wrapt.wrap_function_wrapper(self._sdk, "Traceloop.init", self._around_init)
        add = getattr(trace.get_tracer_provider(), "add_span_processor", None)
        if add is not None:
            add(AssociationProcessor())
        return self._lend()

    def _lend(self) -> str | None:
        """Be the decorators' tracer, unless `Traceloop.init` has made another one."""
        if hasattr(self._wrapper, "instance"):
            said = "two pipelines run: Traceloop.init started one beside ours, which gets guarded copies"
            self._coverage.problem(f"{LIBRARY}: {said}; remove the call, the decorators work without it")
            return f"on; {said}"
        lent = object.__new__(self._wrapper)  # its own __new__ would start exporter, threads and exit handler
        lent._TracerWrapper__tracer_provider = trace.get_tracer_provider()
        self._lent = self._wrapper.instance = lent
        return None

    def _around_init(self, init: Any, _: object, args: Any, kwargs: Any) -> Any:
        if getattr(self._wrapper, "instance", None) is self._lent and self._lent is not None:
            del self._wrapper.instance
        try:
            return init(*args, **kwargs)
        finally:
            said = self._lend()
            if said is not None:
                self._coverage.set(LIBRARY, said)
