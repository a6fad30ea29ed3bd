"""The scopes of `span`: its span starts and ends here, and is current in between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, Status, StatusCode

from somatrace import semconv
from somatrace.context.attribute_values import attribute_value
from somatrace.context.context_decorator import T, create_attached
from somatrace.context.context_tokens import ContextTokens, open_context
from somatrace.context.control_flow import outcome_of
from somatrace.context.current_span_key import SPAN_KEY
from somatrace.context.declared_values import declared_values
from somatrace.context.exception_origins import origins
from somatrace.context.failure_notes import is_foreign, note_failure
from somatrace.context.off_switch import is_off
from somatrace.context.span_state import state_of
from somatrace.context.tag_scope import TagScope
from somatrace.context.tags import Scalar, Tags, current
from somatrace.runtime.fail_safe import fail_safe, is_suppressed
from somatrace.runtime.type_names import qualified_type_name, type_name
from somatrace.semconv import Kind

#: Set while a decorated generator is created: the `SpanScope` of the enclosing decorator.
_MAKER: Final = otel_context.create_key("somatrace-maker")
#: Whether the innermost `span` of a kind in `_MODEL_CALLS` is a model call. Kept in the context and not
#: on the span, because a step inside the call has a span of its own.
MODEL_CALL: Final = otel_context.create_key("somatrace-model-call")
#: Values of `MODEL_CALL` by kind; steps and checks inherit the enclosing one.
_MODEL_CALLS: Final[dict[Kind, bool]] = {
    "llm": True,
    "embedding": True,
    "tool": False,
    "agent": False,
    "workflow": False,
    "retrieval": False,
}
_INTERNAL: Final = SpanKind.INTERNAL
_MAX_WORDS: Final = 8
#: Kinds whose names are tags of what is below them.
_NAMING: Final = ("workflow", "agent")
_NAME_ATTRIBUTES: Final = {
    "agent": semconv.AGENT_NAME,
    "tool": semconv.TOOL_NAME,
    "workflow": semconv.WORKFLOW_NAME_GENAI,
}

#: The arguments of `span`: name, kind, attributes, and the tags, which are not among the attributes.
Given = tuple[str, Kind, dict[str, Any], dict[str, Scalar | None]]


class SpanBlock(ContextTokens):
    """The scope of one block or call, from `attach` on, and the open block itself."""

    _span: Span | None = None

    def __init__(self, given: Given) -> None:
        self._given = given

    def tags_over(self, below: Tags) -> Tags:
        """The tags in force inside the block, over those of the blocks below it."""
        return _tags_for(below, self._given)

    def attach(self) -> Span:
        """Start the span, and make it the current one."""
        given, parent, below = self._given, open_context(), current.get()
        if _MAKER in parent:
            parent = _outside(parent)
        self.begin(_tags_for(below, given) if given[3] or given[1] in _NAMING else below)
        span = self._span = _start(given, parent)
        self.own(_inside(parent, span, given[1]))
        return span

    def create_inside(self, make: Callable[[], T]) -> T:
        """Call `make` in the block."""
        return create_attached(self, make)

    def end(self, error: BaseException | None) -> None:
        """End the span."""
        span, self._span = self._span, None
        if span is None:
            return
        if error is not None:
            _end(span, error)
            return
        try:
            span.end()
        except Exception as fault:
            if not is_suppressed("span", fault):
                raise


class SpanScope:
    """The scope of one generator: the context captured at creation, and the span once it runs."""

    def __init__(self, given: Given) -> None:
        # no method of this object: a cycle would keep a block that is never left until garbage is collected
        self._over = functools.partial(_tags_for, given=given)
        self._given = given
        self._below = current.get()
        self._tags = self._over(self._below)
        self._created_in = open_context()
        self._span: Span | None = None
        self._context = self._created_in
        self._tokens: ContextTokens | None = None

    def attach(self) -> Span:
        """Start the span unless it has started, and make it the current one."""
        # a generator keeps the tags with which it was created, whatever blocks surround its steps
        tokens = ContextTokens(self._tags, over=self._over if current.get() is self._below else None)
        if self._span is None:
            parent = _outside(self._created_in)
            self._span = _start(self._given, parent)
            self._context = _inside(parent, self._span, self._given[1])
        tokens.own(Context(self._context))
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
        """End the span."""
        span, self._span = self._span, None
        if span is not None:
            _end(span, error)


def untraced() -> Span | None:
    """The span of a block where tracing is off, which records nothing; None where it is on."""
    if not is_off():
        return None
    current_span = trace.get_current_span()
    # below a recording span, of a provider that is not the process's, a block hides that one
    return current_span if type(current_span) is NonRecordingSpan else None


def tags_alone(given: Given) -> TagScope | None:
    """The scope of a block or call where tracing is off: its tags apply, if it has any."""
    return TagScope(functools.partial(_tags_for, given=given)) if _has_tags(given) else None


def _has_tags(given: Given) -> bool:
    """Whether the tags in the block can be others than those around it."""
    return bool(given[3]) or given[1] in _NAMING


def _tags_for(below: Tags, given: Given) -> Tags:
    """The tags of the block: those below it, the given ones, and the workflow or agent the span implies.

    The outermost workflow and the innermost agent win; a bound tag wins over both. A name that reads
    like a sentence implies neither, because tags are propagated to other services.
    """
    name, kind, _, tags = given
    block_tags = below.binding(**tags) if tags else below
    if kind not in _NAMING or len(name.split()) > _MAX_WORDS:
        return block_tags
    if kind == "workflow" and semconv.WORKFLOW not in block_tags:
        block_tags = block_tags.deriving(**{semconv.WORKFLOW: name[:128]})
    elif kind == "agent":
        block_tags = block_tags.deriving(**{semconv.AGENT: name[:128]})
    return block_tags


def _outside(created_in: Context) -> Context:
    """The context that a span starts in: not that of the creation of an enclosing generator, but its own."""
    maker = created_in.get(_MAKER)
    return maker._context if isinstance(maker, SpanScope) else created_in


def _inside(parent: Context, span: Span, kind: Kind) -> Context:
    """The context in the block, of which nobody else has a reference yet."""
    context = Context(parent)
    dict.__setitem__(context, SPAN_KEY, span)  # a context refuses to be changed later
    calls = _MODEL_CALLS.get(kind)
    if calls is not None and calls != bool(parent.get(MODEL_CALL)):
        dict.__setitem__(context, MODEL_CALL, calls)
    return context


def _start(given: Given, parent: Context) -> Span:
    """Start the span; without attributes if they cannot be set (if they nest endlessly, for example)."""
    name, kind, declared, _ = given
    try:
        if declared or kind in _NAME_ATTRIBUTES:
            return _start_with(given, parent, _start_attributes(given))
        tracer = _tracer()
        attributes: dict[str, str] = semconv.KIND_ATTRIBUTES[kind]
        if not getattr(tracer, "takes_short_texts", False):
            attributes = dict(attributes)  # the sampler of another provider could change them
        started = tracer.start_span(name, parent, _INTERNAL, attributes, (), None, False, False)
        state = state_of(started)
        if state is not None:
            state.kind, state.name = kind, name
        return started
    except Exception as error:
        if not is_suppressed("span", error):
            raise
    with fail_safe("span"):
        return _start_with(given, parent, {})
    return trace.INVALID_SPAN


def _start_attributes(given: Given) -> dict[str, Any]:
    name, kind, declared, _ = given
    attributes: dict[str, Any] = dict(semconv.KIND_ATTRIBUTES[kind])
    for key, value in declared.items():
        if value is not None:
            attributes[key] = attribute_value(value)
    if kind in _NAME_ATTRIBUTES:
        attributes.setdefault(_NAME_ATTRIBUTES[kind], name)
    return attributes


def _start_with(given: Given, parent: Context, attributes: Mapping[str, Any]) -> Span:
    name, kind, declared, _ = given
    # a call with names takes longer: links, time, and whether to record exceptions
    started = _tracer().start_span(name, parent, _INTERNAL, attributes, (), None, False, False)
    state = state_of(started)
    if state is not None:
        state.kind, state.name = kind, name
        if declared:
            held = getattr(started, "_attributes", None)
            state.declared = declared_values(declared, attributes, held)
    return started


_cached: tuple[trace.TracerProvider, trace.Tracer] | None = None


def _tracer() -> trace.Tracer:
    """The tracer of the current provider, cached: looking it up takes a third of the time of a span."""
    global _cached  # noqa: PLW0603 - a race only creates the same tracer twice
    provider, cached = trace.get_tracer_provider(), _cached
    if cached is None or cached[0] is not provider:
        cached = _cached = provider, provider.get_tracer(semconv.SCOPE, semconv.VERSION)
    return cached[1]


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        with fail_safe("span"):
            state = state_of(span)
            if state is not None:
                origins.note(error, state.tags.tenant)
            outcome = outcome_of(error)
            if outcome:
                span.set_attribute(semconv.OUTCOME, outcome)
            elif isinstance(error, Exception):
                _record_failure(span, error)
    try:
        span.end()
    except Exception as fault:
        if not is_suppressed("span", fault):
            raise


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
