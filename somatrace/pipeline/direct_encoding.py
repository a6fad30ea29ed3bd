"""Guard and encode an ended span at once, without a copy: the way of most spans.

It holds for spans that have nothing but a name, times and attributes, where nobody reads a copy. All others
are copied by `guarded_copy` and encoded by `delivery.encoding`, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, SpanKind
from opentelemetry.trace.status import StatusCode

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.delivery.encoding import SpanEncoder
from somatrace.delivery.outgoing_span import EncodedSpan, OutgoingSpan
from somatrace.guard.removal_notes import RemovalNote, note
from somatrace.pipeline.billed_request import scope_of
from somatrace.pipeline.billed_usage import is_sum_of_others
from somatrace.pipeline.guarded_copy import UNSET, SpanCopier
from somatrace.pipeline.judged_pairs import Differing, JudgedPairs, NeedsCopy
from somatrace.pipeline.lean_span import LeanSpan
from somatrace.pipeline.observation_types import type_of
from somatrace.pipeline.surroundings import Surroundings
from somatrace.pipeline.token_counts import NONE, SUMS, TokenCounts, named_counts, token_counts, written

_LAST_TIME: Final = 2**63


class _Judged(NamedTuple):
    """What leaves of a simple span."""

    around: Surroundings
    name: str
    pairs: list[bytes]
    differing: Differing
    #: Attributes that the span did not have.
    added: dict[str, Any]


class DirectEncoder:
    """Encodes spans without a copy. Used by one thread at a time."""

    def __init__(self, copier: SpanCopier, encoder: SpanEncoder) -> None:
        self._copier = copier
        self._encoder = encoder
        self._pairs = JudgedPairs()

    def encode(
        self, span: ReadableSpan, state: SpanState, tokens: TokenCounts, *, is_read: bool = False
    ) -> EncodedSpan | None:
        """The ended span, guarded and encoded; None if it has to be copied by `guarded_copy`.

        `tokens` are those that it reports. With `is_read` a copy is made of the same verdicts.
        """
        if type(span) is not LeanSpan:
            return None
        judged = self._judged(span, state, span.values, tokens)
        if judged is None:
            return None
        around, name, pairs, _, added = judged
        content = self._encoder.simple(span, name, pairs, added, around.tagged, span._dropped)
        resource = self._copier.resource(span._resource)
        copy = _copy(span, span.values, resource, judged) if is_read else None
        return EncodedSpan(resource, around.scope, content, around.tenant, copy)

    def copy(self, span: ReadableSpan, state: SpanState, values: dict[str, Any]) -> OutgoingSpan | None:
        """A copy with these attributes, which the span had earlier; None if `guarded_copy` has to make it."""
        if type(span) is not LeanSpan:
            return None
        judged = self._judged(span, state, values, token_counts(values, scope_of(span)))
        return None if judged is None else _copy(span, values, self._copier.resource(span._resource), judged)

    def _judged(
        self, span: LeanSpan, state: SpanState, values: dict[str, Any], tokens: TokenCounts
    ) -> _Judged | None:
        if not _is_simple(span, state):
            return None
        around = self._copier.surroundings(span, state)
        content_filter, tagged = around.content_filter, around.tagged
        if (
            around.further
            or content_filter.terms.detectors
            or not tagged.keys().isdisjoint(values.keys())
            or not _says_it_all(values, state, tokens)
        ):
            return None
        differing: Differing = {}
        try:
            pairs = self._pairs.encode(values, state.declared, content_filter, differing)
        except (NeedsCopy, TypeError):  # a sequence of mappings cannot be looked up
            return None
        added: dict[str, Any] = {}
        if differing and (notes := [one for one in differing.values() if isinstance(one, RemovalNote)]):
            added[semconv.GUARD_REMOVED] = note(notes)
        if tokens is not NONE:
            counts = named_counts(values, tokens)
            added[semconv.OBSERVATION_USAGE] = written(counts)
            if self._copier.costs is not None and span._end_time is not None:
                kept = _left(values, differing)
                added |= self._copier.costs.of(kept, counts, span._end_time)
        name = self._copier.span_name(span, around.scope_name, str(values.get(semconv.SPAN_KIND, "span")))
        if semconv.OBSERVATION_TYPE not in values:
            found = type_of(values, around.scope_name, name)
            if found is not None:
                added[semconv.OBSERVATION_TYPE] = found
        return _Judged(around, name, pairs, differing, added)


def _left(values: dict[str, Any], differing: Differing) -> dict[str, Any]:
    """What leaves of a span's own attributes."""
    if not differing:
        return values
    left = {name: value for name, value in values.items() if name not in differing}
    left.update(one for one in differing.values() if not isinstance(one, RemovalNote))
    return left


def _copy(span: LeanSpan, values: dict[str, Any], resource: Resource, judged: _Judged) -> OutgoingSpan:
    around = judged.around
    copy = object.__new__(OutgoingSpan)
    copy.own = {**_left(values, judged.differing), **judged.added}
    copy._name, copy._context, copy._parent, copy._kind = judged.name, span._context, span._parent, span._kind
    copy._start_time, copy._end_time, copy._status = span._start_time, span._end_time, UNSET
    copy._events, copy._links = (), ()
    copy._resource, copy._instrumentation_scope = resource, around.scope
    copy.tagged, copy.tags = around.tagged, around.tags
    if span._dropped:
        copy.dropped = (span._dropped, 0, 0)
    return copy


def _is_simple(span: LeanSpan, state: SpanState) -> bool:
    """Whether a span has nothing but a name, valid times and attributes, and its state says no more."""
    start, end = span._start_time, span._end_time
    below = state.root.below
    return (
        span.made_events is None
        and span.made_links is None
        and span._status.status_code is StatusCode.UNSET
        and not state.failures
        and state.outcome is None
        and (state.billing is None or not state.billing.place)
        and (below is None or not below.name)
        and type(start) is int
        and 0 < start < _LAST_TIME
        and (end is None or (type(end) is int and 0 < end < _LAST_TIME))
        and type(span._kind) is SpanKind
        and _has_no_entries(span._context)
        and _has_no_entries(span._parent)
    )


def _says_it_all(values: Mapping[str, Any], state: SpanState, tokens: TokenCounts) -> bool:
    """Whether no attribute has to be added for another that is missing, or changed because of another."""
    if state.kind is not None and semconv.SPAN_KIND not in values:
        return False  # the attribute limit has dropped it
    if tokens is NONE:
        return SUMS.isdisjoint(values)  # else there are tokens that are no numbers
    return not is_sum_of_others(values)


def _has_no_entries(context: SpanContext | None) -> bool:
    return context is None or context.trace_state is DEFAULT_TRACE_STATE or not context.trace_state
