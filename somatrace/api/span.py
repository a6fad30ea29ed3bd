"""`span`: trace a unit of work, as a with-block, an async with-block or a decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from somatrace import semconv
from somatrace.context.attribute_values import attribute_text, attribute_value
from somatrace.context.context_decorator import ContextDecorator, T
from somatrace.context.context_tokens import ContextTokens, open_context
from somatrace.context.control_flow import outcome_of
from somatrace.context.declared_values import declared_values
from somatrace.context.exception_origins import origins
from somatrace.context.failure_notes import is_foreign, note_failure
from somatrace.context.span_state import state_of
from somatrace.context.tags import Scalar, Tags, current, usable
from somatrace.runtime.fail_safe import fail_safe
from somatrace.runtime.misuse import report_misuse
from somatrace.runtime.type_names import qualified_type_name, type_name
from somatrace.semconv import KINDS, Kind

SCOPE = semconv.SCOPE
#: Set while a decorated generator is created: the `SpanScope` of the enclosing decorator.
_MAKER = otel_context.create_key("somatrace-maker")
#: Whether the innermost `span` of a kind in `_MODEL_CALLS` is a model call. Kept in the context and not
#: on the span, because a step inside the call has a span of its own.
MODEL_CALL = otel_context.create_key("somatrace-model-call")
#: Values of `MODEL_CALL` by kind; steps and checks inherit the enclosing one.
_MODEL_CALLS: dict[Kind, bool] = {
    "llm": True,
    "embedding": True,
    "tool": False,
    "agent": False,
    "workflow": False,
    "retrieval": False,
}


class span(ContextDecorator):  # noqa: N801 - reads as the thing it makes: `with span("plan"):`
    """A span around a block, or around each call of the function it decorates.

    `kind` is the type of work (workflow, step, agent, tool, llm, retrieval, embedding, check); it is
    translated for Langfuse and the GenAI conventions. Attributes are strings, numbers, booleans, sequences
    of these, or values with a standard form (see `attribute_value`); any other value becomes the name of its
    type. Known tags among them (`agent_id="planner"`) are bound for the block.

    The block receives OpenTelemetry's own Span. An exception marks the span as failed and propagates; a
    canceled task, an abandoned generator and other control flow is recorded, but not as a failure.
    """

    def __init__(self, name: str, /, *, kind: Kind = "step", **attributes: Any) -> None:
        super().__init__()
        self._name = attribute_text(name)
        self._kind: Kind = kind if attribute_text(kind) in KINDS else _unknown_kind()
        # a subclass of str could claim to equal the name of a tag
        attributes = {str.__str__(key): value for key, value in attributes.items()}
        known: dict[str, Any] = {key: attributes.pop(key) for key in semconv.KNOWN_TAGS if key in attributes}
        self._tags = usable(known) if known else {}
        self._attributes = attributes

    def __enter__(self) -> Span:
        return self._enter()  # type: ignore[return-value]

    async def __aenter__(self) -> Span:
        return self._enter()  # type: ignore[return-value]

    def _open(self) -> SpanScope:
        return SpanScope(self._name, self._kind, self._attributes, self._tags)


class SpanScope:
    """The scope of one `span`: the context captured at creation, and the span once it runs."""

    def __init__(
        self, name: str, kind: Kind, attributes: dict[str, Any], tags: dict[str, Scalar | None]
    ) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._over = functools.partial(_tags_for, name=name, kind=kind, tags=tags)
        self._below = current.get()
        self._tags = self._over(self._below)
        self._created_in = open_context()
        self._span: Span | None = None
        self._context = self._created_in
        self._tokens: ContextTokens | None = None

    def attach(self) -> Span:
        # a generator keeps the tags with which it was created, whatever blocks surround its steps
        tokens = ContextTokens(self._tags, over=self._over if current.get() is self._below else None)
        if self._span is None:
            maker = self._created_in.get(_MAKER)
            parent = maker._context if isinstance(maker, SpanScope) else self._created_in
            self._span = self._start(parent)
            self._context = trace.set_span_in_context(self._span, self._mark_model_call(parent))
        tokens.attach(self._context)
        self._tokens = tokens
        return self._span

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            tokens.detach()

    def create_inside(self, make: Callable[[], T]) -> T:
        """Call `make`. The result gets this span as its parent; the span starts only when it is pulled."""
        tokens = ContextTokens(self._tags, otel_context.set_value(_MAKER, self, self._created_in))
        try:
            return make()
        finally:
            tokens.detach()

    def end(self, error: BaseException | None) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        state = state_of(span)
        with fail_safe("span"):
            if error is not None and state is not None:
                origins.note(error, state.tags.tenant)
            outcome = outcome_of(error)
            if outcome:
                span.set_attribute(semconv.OUTCOME, outcome)
            elif isinstance(error, Exception):
                _record_failure(span, error)
        with fail_safe("span"):
            span.end()

    def _mark_model_call(self, parent: Context) -> Context:
        calls = _MODEL_CALLS.get(self._kind)
        if calls is None or calls == bool(parent.get(MODEL_CALL)):
            return parent
        return otel_context.set_value(MODEL_CALL, calls, parent)

    def _start(self, parent: Context) -> Span:
        """Start the span; without attributes if they cannot be set (if they nest endlessly, for example)."""
        with fail_safe("span"):
            return self._start_with(parent, self._start_attributes())
        with fail_safe("span"):
            return self._start_with(parent, {})
        return trace.INVALID_SPAN

    def _start_attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = dict(semconv.KIND_ATTRIBUTES[self._kind])
        for key, value in self._attributes.items():
            if value is not None:
                attributes[key] = attribute_value(value)
        if self._kind in _NAME_ATTRIBUTES:
            attributes.setdefault(_NAME_ATTRIBUTES[self._kind], self._name)
        return attributes

    def _start_with(self, parent: Context, attributes: dict[str, Any]) -> Span:
        started = _tracer().start_span(
            self._name,
            context=parent,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        state = state_of(started)
        if state is not None:
            state.kind, state.name = self._kind, self._name
            if self._attributes:
                held = getattr(started, "_attributes", None)
                state.declared = declared_values(self._attributes, attributes, held)
        return started


def _unknown_kind() -> Kind:
    report_misuse(f"span: unknown kind, step is used instead: use one of {', '.join(KINDS)}")
    return "step"


_cached: tuple[trace.TracerProvider, trace.Tracer] | None = None


def _tracer() -> trace.Tracer:
    """The tracer of the current provider, cached: looking it up takes a third of the time of a span."""
    global _cached  # noqa: PLW0603 - a race only creates the same tracer twice
    provider, cached = trace.get_tracer_provider(), _cached
    if cached is None or cached[0] is not provider:
        cached = _cached = provider, provider.get_tracer(SCOPE, semconv.VERSION)
    return cached[1]


_MAX_WORDS = 8
#: Kinds whose names are tags of what is below them.
_NAMING = ("workflow", "agent")
_NAME_ATTRIBUTES = {
    "agent": semconv.AGENT_NAME,
    "tool": semconv.TOOL_NAME,
    "workflow": semconv.WORKFLOW_NAME_GENAI,
}


def _tags_for(below: Tags, name: str, kind: Kind, tags: dict[str, Scalar | None]) -> Tags:
    """The tags of the block: those below it, the given ones, and the workflow or agent the span implies.

    The outermost workflow and the innermost agent win; a bound tag wins over both. A name that reads
    like a sentence implies neither, because tags are propagated to other services.
    """
    block_tags = below.binding(**tags) if tags else below
    if kind not in _NAMING or len(name.split()) > _MAX_WORDS:
        return block_tags
    if kind == "workflow" and semconv.WORKFLOW not in block_tags:
        block_tags = block_tags.deriving(**{semconv.WORKFLOW: name[:128]})
    elif kind == "agent":
        block_tags = block_tags.deriving(**{semconv.AGENT: name[:128]})
    return block_tags


def _record_failure(span: Span, error: Exception) -> None:
    """Record status, exception type and place. The text is recorded only if the tenant's policy allows
    content: it may contain prompts and keys."""
    if not span.is_recording():
        return
    state, status = state_of(span), getattr(span, "status", None)
    name = qualified_type_name(error)
    specific = status is not None and status.status_code is StatusCode.ERROR  # `fail` has set its own
    noted = specific and state is not None and state.has_noted(error)
    if not specific:
        span.set_attribute(semconv.ERROR_TYPE, name)
        span.set_status(Status(StatusCode.ERROR, name))
    if state is not None and state.allows_text(state.tags.tenant) and not is_foreign(state, error):
        with fail_safe("exception text"):
            if not noted:
                span.record_exception(error)
                noted = True
            if not specific:
                span.set_status(Status(StatusCode.ERROR, f"{type_name(error)}: {error}"))
    if not noted:
        span.add_event("exception", {semconv.EXCEPTION_TYPE: name, **note_failure(span, error)})
