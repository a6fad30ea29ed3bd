"""Count the usage of each billed request once, on the innermost span that has it.

A framework's span and the span of the client below it both have the tokens of their request. A span loses its
usage if a span below it had some, and keeps it if the client below made no span. Where the span below ends
later, as that of a stream can, it loses its own instead, up to what the upper span has counted.

Not every request below a span is its own. A client's span encloses nothing but its requests and the code that
it calls back, such as a tool, whose requests are others: it loses its usage only to spans of the same client.
An embedding is never the same request as a completion.

The worker's thread decides, in the order in which spans end. It keeps its data on the states of the spans, so
the data is freed once a span and those below it have ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.libraries import LIBRARIES

_INPUT: Final = (semconv.INPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT: Final = (semconv.OUTPUT_TOKENS, "gen_ai.usage.completion_tokens", "llm.token_count.completion")
_TOTAL: Final = (semconv.TOTAL_TOKENS, semconv.LITELLM_TOTAL_TOKENS, "llm.token_count.total")
_TOKENS: Final = frozenset((*_INPUT, *_OUTPUT, *_TOTAL, semconv.OBSERVATION_USAGE))
#: Of these keys or with these prefixes is everything that is counted as tokens or cost.
_USAGE_KEYS: Final = frozenset((semconv.OBSERVATION_USAGE, semconv.OBSERVATION_COST))
_USAGE_PREFIXES: Final = ("gen_ai.usage.", "llm.usage.", "llm.token_count.", "llm.cost.")
_MODEL_KEYS: Final = frozenset(
    (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, "langfuse.observation.model.name", "llm.model_name")
)
#: Langfuse counts the tokens of a model call without usage itself, from its texts.
_NO_TOKENS: Final = json.dumps({"input": 0, "output": 0})
_EMBEDDING: Final = frozenset({"embedding", "embeddings"})
_COMPLETION: Final = frozenset({"chat", "completion", "generate_content", "response", "text_completion"})
#: Spans whose requests send nothing through another client's span.
_CLIENTS: Final = tuple(
    (scope, row.name)
    for row in LIBRARIES
    if row.role == "model" and not row.is_gateway
    for scope in row.scopes
)
#: Excluded first: "openai_agents" begins with "openai".
_OTHERS: Final = tuple(
    scope for row in LIBRARIES if row.role != "model" or row.is_gateway for scope in row.scopes
)
#: Ids of responses kept below one span, each of at most as many characters; beyond them ids are unknown.
_MAX_IDS: Final = 16
_MAX_ID: Final = 128


class Request(NamedTuple):
    """What tells one billed request from another; empty where it is unknown."""

    client: str = ""
    operation: str = ""
    response: str = ""

    def may_be(self, below: Request) -> bool:
        """Whether the request that a span below has reported may be this one, or one of this span's."""
        if self.operation and below.operation and self.operation != below.operation:
            return False
        if not self.client:
            return True
        same_response = not self.response or not below.response or self.response == below.response
        return self.client == below.client and same_response


class Billing:
    """The usage below a span, and how its own was settled."""

    __slots__ = ("below", "ended_ns", "place", "remaining", "request")

    def __init__(self) -> None:
        self.below: set[Request] = set()
        #: Where the span's own usage is counted if not on the span: "below", "above", or not at all: "cache".
        self.place = ""
        #: Of a span that has kept its usage: its request, its end, and its tokens not yet found below it.
        self.request: Request | None = None
        self.ended_ns = 0
        self.remaining = 0

    def add(self, request: Request) -> None:
        """Note a request that a span below has counted."""
        if request.response and len(self.below) >= _MAX_IDS:
            request = request._replace(response="")
        self.below.add(request)


def settle(span: ReadableSpan, state: SpanState) -> None:
    """Decide where the usage of an ended span is counted. Called once, in the order in which spans end."""
    attributes = _attributes(span)
    mine: Billing | None = state.billing
    tokens = _tokens(attributes)
    if not tokens and mine is None and semconv.CACHE_HIT not in attributes:
        return
    request = _request(span, attributes)
    if mine is not None and any(request.may_be(below) for below in mine.below):
        if tokens or not any(map(_is_usage, attributes)):  # a cost alone is of the span itself
            mine.place = "below"
        return
    is_cached = attributes.get(semconv.CACHE_HIT) is True
    if not tokens and not is_cached:
        return
    mine = state.billing = mine or Billing()
    if is_cached:
        mine.place = "cache"
    elif _is_counted_above(state, request, tokens, span.start_time or 0):
        mine.place = "above"
        return
    else:
        mine.request, mine.ended_ns, mine.remaining = request, span.end_time or 0, tokens
    for upper in _above(state):
        upper.billing = upper.billing or Billing()
        upper.billing.add(request)


def without_counted(kept: dict[str, Any], state: SpanState) -> None:
    """Remove the usage of a settled span from its guarded attributes if it is counted on another span."""
    billing: Billing | None = state.billing
    if billing is None or not billing.place:
        return
    used = [key for key in kept if _is_usage(key)]
    if not used and _MODEL_KEYS.isdisjoint(kept):
        return
    for key in used:
        del kept[key]
    if billing.place != "cache":
        kept[semconv.USAGE_COUNTED] = billing.place
    if not _MODEL_KEYS.isdisjoint(kept):
        kept[semconv.OBSERVATION_USAGE] = _NO_TOKENS


def _is_counted_above(state: SpanState, request: Request, tokens: int, start: int) -> bool:
    """Whether a span above that ended while this one was open has counted these tokens as its own."""
    for upper in _above(state):
        billing: Billing | None = upper.billing
        if billing is None or billing.request is None or billing.ended_ns < start:
            continue
        if billing.request.may_be(request) and tokens <= billing.remaining:
            billing.remaining -= tokens
            return True
    return False


def _attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of an ended span, which no longer change. The SDK's mapping around them is slow."""
    held = getattr(span, "_attributes", None)
    return getattr(held, "_dict", None) or held or {}


def _is_usage(key: str) -> bool:
    return key in _USAGE_KEYS or key.startswith(_USAGE_PREFIXES)


def _above(state: SpanState) -> Iterator[SpanState]:
    upper = state.above
    while upper is not None:
        yield upper
        upper = upper.above


def _request(span: ReadableSpan, attributes: Mapping[str, Any]) -> Request:
    scope = getattr(span.instrumentation_scope, "name", "")
    response = attributes.get(semconv.RESPONSE_ID)
    return Request(
        _client(scope) if type(scope) is str else "",
        _operation(attributes),
        response[:_MAX_ID] if type(response) is str else "",
    )


@lru_cache(maxsize=256)
def _client(scope: str) -> str:
    """The client whose spans have this scope; "" for frameworks and programs."""
    if scope.startswith(_OTHERS):
        return ""
    return next((name for prefix, name in _CLIENTS if scope.startswith(prefix)), "")


def _operation(attributes: Mapping[str, Any]) -> str:
    for key in (semconv.OPERATION, "llm.request.type", semconv.OBSERVATION_TYPE, "openinference.span.kind"):
        value = attributes.get(key)
        name = value.lower() if type(value) is str else ""
        if name in _EMBEDDING:
            return "embedding"
        if name in _COMPLETION:
            return "completion"
    return ""


def _tokens(attributes: Mapping[str, Any]) -> int:
    """The tokens that a span reports, 0 if it reports none."""
    if _TOKENS.isdisjoint(attributes):
        return 0
    details = attributes.get(semconv.OBSERVATION_USAGE)
    if type(details) is str:
        return _tokens_in(details)
    total = _first(attributes, _TOTAL)
    return total or _first(attributes, _INPUT) + _first(attributes, _OUTPUT)


def _first(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> int:
    return next((value for key in keys if type(value := attributes.get(key)) is int and value > 0), 0)


def _tokens_in(details: str) -> int:
    """The tokens in Langfuse's form, a JSON object of disjoint counts or with their total."""
    try:
        counts = json.loads(details)
    except (ValueError, RecursionError):
        return 0
    if not isinstance(counts, dict):
        return 0
    known = {name: count for name, count in counts.items() if type(count) is int and count > 0}
    return known.get("total") or sum(known.values())
