"""`span`: trace a unit of work, as a with-block, an async with-block or a decorator."""

from __future__ import annotations

from typing import Any, Final, cast

from opentelemetry.trace import Span

from somatrace import semconv
from somatrace.api.span_scopes import (
    Given,
    SpanBlock,
    SpanScope,
    tags_alone,
    untraced,
)
from somatrace.context.attribute_values import attribute_text
from somatrace.context.context_decorator import ContextDecorator, ContextScope
from somatrace.context.off_switch import switch
from somatrace.context.tags import Scalar, usable
from somatrace.runtime.misuse import report_misuse
from somatrace.semconv import KINDS, Kind

_NO_ATTRIBUTES: Final[dict[str, Any]] = {}
_NO_TAGS: Final[dict[str, Scalar | None]] = {}


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
        self._entered = []
        if type(name) is not str:
            name = attribute_text(name)
        exact: type = type(kind)
        if exact is not str or kind not in KINDS:
            kind = _known_kind(kind)
        if attributes:
            self._given: Given = name, kind, *_parted(attributes)
        else:
            self._given = name, kind, _NO_ATTRIBUTES, _NO_TAGS

    def __enter__(self) -> Span:
        if switch.is_set:
            found = untraced()
            if found is not None:
                scope = tags_alone(self._given)
                if scope is not None:
                    self._enter(scope)
                return found
        block = SpanBlock(self._given)
        entered = block.attach()
        self._entered.append((block, block))
        return entered

    async def __aenter__(self) -> Span:
        return self.__enter__()

    def _open(self) -> ContextScope | None:
        return SpanScope(self._given) if untraced() is None else tags_alone(self._given)

    def _open_once(self) -> ContextScope | None:
        return SpanBlock(self._given) if untraced() is None else tags_alone(self._given)


def _parted(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Scalar | None]]:
    """The attributes, and the known tags among them."""
    # a subclass of str could claim to equal the name of a tag
    attributes = {str.__str__(key): value for key, value in given.items()}
    known: dict[str, Any] = {key: attributes.pop(key) for key in semconv.KNOWN_TAGS if key in attributes}
    return attributes, usable(known) if known else _NO_TAGS


def _known_kind(given: object) -> Kind:
    kind = attribute_text(given)
    if kind in KINDS:
        return cast("Kind", kind)
    report_misuse(f"span: unknown kind, step is used instead: use one of {', '.join(KINDS)}")
    return "step"
