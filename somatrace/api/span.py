"""`span`: a unit of work, as a with-block, an async with-block or a decorator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from somatrace import semconv
from somatrace.context.context_decorator import ContextDecorator, T
from somatrace.context.span_state import state_of
from somatrace.context.tags import Scalar, Tags, current, usable
from somatrace.runtime.fail_safe import fail_safe, text_of
from somatrace.semconv import KINDS, Kind

SCOPE = "somatrace"
#: In the context in which a decorated generator is made: the `Work` of the decorator around.
_MAKER = otel_context.create_key("somatrace-maker")
#: In the context of a span by hand: whether the innermost of them that says so is a call of a model.
#: The span itself is not asked, because a step of the call may have one of its own inside.
MODEL_CALL = otel_context.create_key("somatrace-model-call")
#: What a kind says of that; a step or a check goes on with what is around it.
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

    `kind` says what the work is (workflow, step, agent, tool, llm, retrieval, embedding, check);
    Langfuse and the GenAI conventions are told in their own words. Attributes are strings, numbers,
    booleans or sequences of one of them. Known tags among them (`agent_id="planner"`) are bound for
    the block. The block gets OpenTelemetry's own Span. An exception marks the span as failed and
    goes on; a cancelled task or an abandoned generator is noted, and is no failure.
    """

    def __init__(self, name: str, /, *, kind: Kind = "step", **attributes: Any) -> None:
        super().__init__()
        self._name = text_of(name)
        self._kind: Kind = kind if text_of(kind) in KINDS else "step"
        given = {str(key): attributes.pop(key) for key in semconv.KNOWN_TAGS if key in attributes}
        self._tags = usable(given) if given else {}
        self._attributes = attributes

    def __enter__(self) -> Span:
        return self._enter()  # type: ignore[return-value]

    async def __aenter__(self) -> Span:
        return self._enter()  # type: ignore[return-value]

    def _open(self) -> SpanScope:
        return SpanScope(
            self._name, self._kind, self._attributes, _tags_for(self._name, self._kind, self._tags)
        )


class SpanScope:
    """The scope of one `span`: what is captured where it is made, and the span once it runs."""

    def __init__(self, name: str, kind: Kind, attributes: dict[str, Any], tags: Tags) -> None:
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._tags = tags
        self._made_in = otel_context.get_current()
        self._span: Span | None = None
        self._context = self._made_in
        self._tokens: tuple[Token[Tags], Any] | None = None

    def attach(self) -> Span:
        tags_token = current.set(self._tags)
        if self._span is None:
            maker = self._made_in.get(_MAKER)
            parent = maker._context if isinstance(maker, SpanScope) else self._made_in
            self._span = self._start(parent)
            self._context = trace.set_span_in_context(self._span, self._said(parent))
        self._tokens = (tags_token, otel_context.attach(self._context))
        return self._span

    def detach(self) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            return
        try:
            current.reset(tokens[0])
        except ValueError:
            return  # left in another context than it was entered in, where nothing of it is set
        otel_context.detach(tokens[1])

    def create_inside(self, make: Callable[[], T]) -> T:
        """What is made has this span as its parent, which starts no earlier than when that is pulled."""
        tokens = (
            current.set(self._tags),
            otel_context.attach(otel_context.set_value(_MAKER, self, self._made_in)),
        )
        try:
            return make()
        finally:
            otel_context.detach(tokens[1])
            current.reset(tokens[0])

    def is_current(self) -> bool:
        return otel_context.get_current() is self._context and self._span is not None

    def end(self, error: BaseException | None) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        with fail_safe("span"):
            if isinstance(error, (GeneratorExit, asyncio.CancelledError)):
                span.set_attribute(
                    semconv.OUTCOME, "cancelled" if isinstance(error, asyncio.CancelledError) else "abandoned"
                )
            elif isinstance(error, Exception):
                _failed(span, error)
        with fail_safe("span"):
            span.end()

    def _said(self, parent: Context) -> Context:
        calls = _MODEL_CALLS.get(self._kind)
        if calls is None or calls == bool(parent.get(MODEL_CALL)):
            return parent
        return otel_context.set_value(MODEL_CALL, calls, parent)

    def _start(self, parent: Context) -> Span:
        """The span; without attributes where they cannot be taken (they nest without end, say)."""
        with fail_safe("span"):
            return self._started(parent, self._described())
        with fail_safe("span"):
            return self._started(parent, {})
        return trace.INVALID_SPAN

    def _described(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {**semconv.KIND_ATTRIBUTES[self._kind], **self._attributes}
        if self._kind in _NAMED:
            attributes.setdefault(_NAMED[self._kind], self._name)
        return attributes

    def _started(self, parent: Context, attributes: dict[str, Any]) -> Span:
        started = _tracer().start_span(
            self._name,
            context=parent,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        state = state_of(started)
        if state is not None:
            state.kind = self._kind
            if self._attributes:
                held: Mapping[str, Any] = getattr(started, "_attributes", None) or {}
                state.declared = {key: held[key] for key in self._attributes if key in held}
        return started


_made: tuple[trace.TracerProvider, trace.Tracer] | None = None


def _tracer() -> trace.Tracer:
    """The tracer of the provider in force, asked for once: asking costs a third of a span."""
    global _made  # noqa: PLW0603 - whoever comes second makes the same again
    provider, made = trace.get_tracer_provider(), _made
    if made is None or made[0] is not provider:
        made = _made = provider, provider.get_tracer(SCOPE, semconv.VERSION)
    return made[1]


_MAX_WORDS = 8
_NAMED = {"agent": semconv.AGENT_NAME, "tool": semconv.TOOL_NAME, "workflow": semconv.WORKFLOW_NAME_GENAI}


def _tags_for(name: str, kind: Kind, tags: dict[str, Scalar | None]) -> Tags:
    """The tags of the block: those bound here, those given, and what the span stands for.

    An outer workflow keeps its name for all inside it; an agent is the innermost one. A bound tag
    wins over both. A name that reads like a sentence stands for nothing: tags travel on.
    """
    found = current.get()
    if tags:
        found = found.binding(**tags)
    if len(name.split()) > _MAX_WORDS:
        return found
    if kind == "workflow" and semconv.WORKFLOW not in found:
        found = found.deriving(**{semconv.WORKFLOW: name[:128]})
    elif kind == "agent":
        found = found.deriving(**{semconv.AGENT: name[:128]})
    return found


def _failed(span: Span, error: Exception) -> None:
    """Status and type of the failure. Its text stays with the program: it may hold prompts and keys."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if getattr(span, "status", None) is not None and span.status.status_code is StatusCode.ERROR:  # type: ignore[attr-defined]
        return  # `fail` has said it better
    span.set_attribute(semconv.ERROR_TYPE, name)
    span.add_event("exception", {semconv.EXCEPTION_TYPE: name})
    span.set_status(Status(StatusCode.ERROR, name))
