"""Count the usage of each billed request once, on the innermost span that has it.

A framework's span and the span of the client below it both have the tokens of their request. A span loses its
usage if a span below it had some, and keeps it if the client below made no span. Where the span below ends
later, as that of a stream can, it loses its own instead, up to what the upper span has counted.

Not every request below a span is its own. A client's span encloses nothing but its requests and the code that
it calls back, such as a tool, whose requests are others: it loses its usage only to spans of the same client.
An embedding is never the same request as a completion.

An agent's or a workflow's span has the sum of its requests: it keeps what exceeds the tokens counted below.

A second instrumentor of the same library makes a span beside the first one's: the one that ends first counts.

The worker's thread decides, in the order in which spans end. It keeps its data on the states of the spans, so
the data is freed once a span and those below it have ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.pipeline.billed_request import (
    MODEL_KEYS,
    Counted,
    RecentRequests,
    Request,
    request_of,
    scope_of,
)
from somatrace.pipeline.span_parts import held_attributes
from somatrace.pipeline.token_counts import NONE, PART_KEYS, TokenCounts, add_usage_details, token_counts

#: Of these keys or with these prefixes is everything that is counted as tokens or cost.
_USAGE_KEYS: Final = frozenset((semconv.OBSERVATION_USAGE, semconv.OBSERVATION_COST))
_USAGE_PREFIXES: Final = ("gen_ai.usage.", "llm.usage.", "llm.token_count.", "llm.cost.")
_MODEL_KEYS: Final = frozenset(MODEL_KEYS)
#: Langfuse counts the tokens of a model call without usage itself, from its texts.
_NO_TOKENS: Final = json.dumps({"input": 0, "output": 0})
#: Langfuse ignores usage and cost of spans with these operations, and knows an agent by its type as well.
_SUMMING_OPERATIONS: Final = ("invoke_agent", "agent_step")
#: Ids of responses kept below one span; beyond them ids are unknown.
_MAX_IDS: Final = 16
_NOTHING: Final[Sequence[TokenCounts]] = ()


class Billing:
    """The usage below a span, and how its own was settled."""

    __slots__ = ("below", "ended_ns", "place", "remaining", "request", "rest")

    def __init__(self) -> None:
        self.below: dict[Request, TokenCounts] = {}
        #: Where the span's own usage is counted if not on the span: "below", "above", "beside", or not at
        #: all: "cache".
        self.place = ""
        #: Of a span whose usage is counted below in part: the other part.
        self.rest: TokenCounts = NONE
        #: Of a span that has kept its usage: its request, its end, and its tokens not yet found below it.
        self.request: Request | None = None
        self.ended_ns = 0
        self.remaining = 0

    def add(self, request: Request, tokens: TokenCounts) -> None:
        """Note a request that a span below has counted."""
        if request.response and request not in self.below and len(self.below) >= _MAX_IDS:
            request = request._replace(response="")
        known = self.below.get(request)
        self.below[request] = tokens if known is None else known.plus(tokens)


class BilledUsage:
    """Decides for the spans of one pipeline where their usage is counted."""

    def __init__(self) -> None:
        self._recent = RecentRequests()

    def forget(self) -> None:
        """Forget all requests, because a forked child is another process."""
        self._recent.clear()

    def settle(self, span: ReadableSpan, state: SpanState) -> TokenCounts:
        """Decide where the usage of an ended span is counted. Called once, in the order of the ends.

        Returns the tokens that the span reports, wherever they are counted.
        """
        attributes = held_attributes(span)
        scope = scope_of(span)
        tokens = token_counts(attributes, scope)
        is_cached = attributes.get(semconv.CACHE_HIT) is True
        if not tokens.all and not is_cached and (state.billing is None or _MODEL_KEYS.isdisjoint(attributes)):
            return tokens  # it has no usage to lose, and Langfuse counts none on it
        request = request_of(scope, attributes)
        below = _billing(state).below
        carried = [given for one, given in below.items() if request.may_be(one)] if below else _NOTHING
        if carried:
            if tokens.all or not any(map(_is_usage, attributes)):  # a cost alone is of the span itself
                self._settle_sum(span, state, request, tokens, carried)
        elif is_cached:
            state.billing.place = "cache"
            _tell_above(state, request, tokens)
        elif tokens.all:
            self._settle_own(state, Counted(span, attributes, request, tokens, state))
        return tokens

    def _settle_sum(
        self,
        span: ReadableSpan,
        state: SpanState,
        request: Request,
        tokens: TokenCounts,
        carried: Sequence[TokenCounts],
    ) -> None:
        """Settle usage that is counted on spans below, at least in part."""
        rest = NONE if request.is_single else _rest(tokens, carried)
        state.billing.place, state.billing.rest = "below", rest
        if rest.all:
            _keep(state, request, rest, span.end_time or 0)

    def _settle_own(self, state: SpanState, one: Counted) -> None:
        """Settle usage that no span below has."""
        other = self._recent.find(one)
        if other is not None:
            state.billing.place = "beside"
            _tell_above(state, one.request, one.tokens, other.carriers)
        elif _is_counted_above(state, one.request, one.tokens.all, one.start):
            state.billing.place = "above"
        else:
            one.carriers = _keep(state, one.request, one.tokens, one.end)
            self._recent.add(one)


def complete_usage(kept: dict[str, Any], span: ReadableSpan, state: SpanState | None) -> None:
    """Give the guarded attributes of a span the usage that is counted on it, in Langfuse's form."""
    if state is not None and state.billing is not None:
        _remove_counted(kept, state.billing)
    is_billed = add_usage_details(kept, partial(scope_of, span)) or semconv.OBSERVATION_COST in kept
    if is_billed and is_sum_of_others(kept):
        del kept[semconv.OPERATION]
        kept.setdefault(semconv.OBSERVATION_TYPE, "agent")


def is_sum_of_others(attributes: Mapping[str, Any]) -> bool:
    """Whether Langfuse takes the usage of a span with these attributes for that of the spans below it."""
    return attributes.get(semconv.OPERATION) in _SUMMING_OPERATIONS


def _remove_counted(kept: dict[str, Any], billing: Billing) -> None:
    """Remove the usage of a settled span from its guarded attributes if it is counted on another span."""
    if not billing.place:
        return
    used = [key for key in kept if _is_usage(key)]
    if not used and _MODEL_KEYS.isdisjoint(kept):
        return
    for key in used:
        del kept[key]
    if billing.rest.all:
        kept[semconv.USAGE_COUNTED] = f"partly {billing.place}"
        kept[semconv.INPUT_TOKENS], kept[semconv.OUTPUT_TOKENS] = billing.rest.input, billing.rest.output
        kept |= {PART_KEYS[name]: count for name, count in billing.rest.parts.items() if name in PART_KEYS}
        return
    if billing.place != "cache":
        kept[semconv.USAGE_COUNTED] = billing.place
    if not _MODEL_KEYS.isdisjoint(kept):
        kept[semconv.OBSERVATION_USAGE] = _NO_TOKENS


def _keep(state: SpanState, request: Request, tokens: TokenCounts, ended_ns: int) -> Sequence[Billing]:
    """Count tokens on the span itself, and return where they are noted on the spans above."""
    mine: Billing = state.billing
    mine.request, mine.ended_ns, mine.remaining = request, ended_ns, tokens.all
    return _tell_above(state, request, tokens)


def _tell_above(
    state: SpanState, request: Request, tokens: TokenCounts, known: Sequence[Billing] = ()
) -> Sequence[Billing]:
    """Note a request on the spans above, except where it is known; returns all of their notes."""
    noted = []
    upper = state.above
    while upper is not None:
        billing = _billing(upper)
        if not known or not any(billing is one for one in known):
            billing.add(request, tokens)
        noted.append(billing)
        upper = upper.above
    return noted


def _rest(tokens: TokenCounts, carried: Sequence[TokenCounts]) -> TokenCounts:
    """What a sum contains beside the tokens counted below. Every request has an input: without one there is
    no further request, but another way of counting."""
    counted = NONE
    for one in carried:
        counted = counted.plus(one)
    rest = tokens.minus(counted)
    return rest if rest.input else NONE


def _is_counted_above(state: SpanState, request: Request, tokens: int, start: int) -> bool:
    """Whether a span above that ended while this one was open has counted these tokens as its own."""
    upper = state.above
    while upper is not None:
        billing: Billing | None = upper.billing
        if (
            billing is not None
            and billing.request is not None
            and billing.ended_ns >= start
            and billing.request.may_be(request)
            and tokens <= billing.remaining
        ):
            billing.remaining -= tokens
            return True
        upper = upper.above
    return False


def _is_usage(key: str) -> bool:
    return key in _USAGE_KEYS or key.startswith(_USAGE_PREFIXES)


def _billing(state: SpanState) -> Billing:
    if state.billing is None:
        state.billing = Billing()
    found: Billing = state.billing
    return found
