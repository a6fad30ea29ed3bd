"""Recognize one billed request on the spans of several instrumentors."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import ReadableSpan

from somatrace import semconv
from somatrace.context.span_state import SpanState
from somatrace.libraries import LIBRARIES, Library
from somatrace.pipeline.token_counts import TokenCounts

MODEL_KEYS: Final = (
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_MODEL,
    "langfuse.observation.model.name",
    "llm.model_name",
)
_EMBEDDING: Final = frozenset({"embedding", "embeddings"})
_AGENT_OPERATIONS: Final = ("invoke_agent", "create_agent")
_COMPLETION: Final = frozenset(
    {"chat", "completion", "generate_content", "generation", "llm", "response", "text_completion"}
)
#: The longest first: "openai_agents" begins with "openai".
_SCOPES: Final = sorted(
    ((scope, row) for row in LIBRARIES for scope in row.scopes), key=lambda found: -len(found[0])
)
#: Spans that may be of any library's requests: the SDK wraps clients and adds handlers to frameworks.
_ANY_LIBRARY: Final = "langfuse-sdk"
#: Characters of a response's id; longer ones are unknown.
_MAX_ID: Final = 128
#: Requests that another instrumentor's span is compared with.
_MAX_RECENT: Final = 512
_NONE_YET: Final[Mapping[str, Any]] = {}


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

    @property
    def is_single(self) -> bool:
        """Whether a span with it reports one call of a model, and not the sum of several."""
        return bool(self.client or self.operation)


def request_of(scope: str, attributes: Mapping[str, Any]) -> Request:
    """The request that a span of an instrumentation scope reports."""
    library = _instrumentor(scope)[1]
    response = attributes.get(semconv.RESPONSE_ID)
    return Request(
        # a gateway and a framework send their requests through other clients, which may have spans
        library.name if library and library.role == "model" and not library.is_gateway else "",
        _operation(attributes),
        response if type(response) is str and len(response) <= _MAX_ID else "",
    )


def scope_of(span: ReadableSpan) -> str:
    """The name of a span's instrumentation scope."""
    name = getattr(span._instrumentation_scope, "name", "")
    return name if type(name) is str else ""


class Counted:
    """A request whose usage is counted on a span, compared with the spans of other instrumentors."""

    __slots__ = (
        "carriers",
        "end",
        "instrumentor",
        "is_below",
        "models",
        "request",
        "seen_by",
        "start",
        "tenant",
        "tokens",
        "trace",
    )

    def __init__(
        self,
        span: ReadableSpan,
        attributes: Mapping[str, Any],
        request: Request,
        tokens: TokenCounts,
        state: SpanState,
    ) -> None:
        self.instrumentor = _instrumentor(scope_of(span))
        self.models = [name for key in MODEL_KEYS if type(name := attributes.get(key)) is str]
        self.request, self.tokens = request, tokens
        self.tenant = state.tags.tenant
        self.trace, self.is_below = span.context.trace_id, span._parent is not None
        self.start, self.end = span._start_time or 0, span._end_time or 0
        #: The instrumentors that have reported it as well: each reports a request once.
        self.seen_by: set[str] = set()
        #: What is kept on the spans above it, which contain its tokens.
        self.carriers: Sequence[Any] = ()

    def is_same(self, other: Counted) -> bool:
        """Whether another instrumentor's span reports this request: at the same time, as many tokens."""
        mine, theirs = self.instrumentor[0], other.instrumentor[0]
        if mine == theirs or theirs in self.seen_by or self.tenant != other.tenant:
            return False
        if self.start > other.end or other.start > self.end:
            return False
        ids = self.request.response, other.request.response
        operations = self.request.operation, other.request.operation
        return (
            (ids[0] == ids[1] if all(ids) else self._may_share_requests(other))
            and (not all(operations) or operations[0] == operations[1])
            and _inputs(self.tokens) & _inputs(other.tokens) != set()
            and _may_be_one(self.models, other.models)
        )

    def _may_share_requests(self, other: Counted) -> bool:
        """Whether the two instrumentors may report the same requests, where no ids of responses tell."""
        (mine, my_library), (theirs, their_library) = self.instrumentor, other.instrumentor
        return my_library is their_library or _ANY_LIBRARY in (mine, theirs) or self._is_around(other)

    def _is_around(self, other: Counted) -> bool:
        """Whether one is of a framework's call, and the other of a client's request within it.

        Instrumentors of one origin leave one of the two out, or make one below the other. A framework's span
        that is not current, as those of callbacks are, leaves the client's without a parent.
        """
        if bool(self.request.client) == bool(other.request.client):
            return False
        call, request = (other, self) if self.request.client else (self, other)
        if request.is_below and call.trace != request.trace:
            return False
        return call.start <= request.start and request.end <= call.end


class RecentRequests:
    """The last requests that were counted, by their output and the instrumentor that reported them."""

    def __init__(self) -> None:
        self._order: deque[Counted] = deque()
        self._by_output: dict[int, dict[str, deque[Counted]]] = {}

    def find(self, one: Counted) -> Counted | None:
        """The same request as another instrumentor has reported it."""
        for instrumentor, reported in self._by_output.get(one.tokens.output or 0, _NONE_YET).items():
            if instrumentor == one.instrumentor[0]:
                continue
            for known in reported:
                if known.is_same(one):
                    known.seen_by.add(one.instrumentor[0])
                    return known
        return None

    def add(self, one: Counted) -> None:
        """Note a request, if its span is of an instrumentor."""
        if not one.instrumentor[0]:
            return
        self._order.append(one)
        self._by_output.setdefault(one.tokens.output or 0, {}).setdefault(
            one.instrumentor[0], deque()
        ).append(one)
        if len(self._order) > _MAX_RECENT:
            oldest = self._order.popleft()
            output = oldest.tokens.output or 0
            of_output = self._by_output[output]
            reported = of_output[oldest.instrumentor[0]]
            reported.popleft()  # each is in the order of its ends
            if not reported:
                del of_output[oldest.instrumentor[0]]
                if not of_output:
                    del self._by_output[output]

    def __len__(self) -> int:
        return len(self._order)

    def clear(self) -> None:
        """Forget all."""
        self._order.clear()
        self._by_output.clear()


@lru_cache(maxsize=256)
def _instrumentor(scope: str) -> tuple[str, Library | None]:
    """The instrumentor whose spans have this scope, and its library; ("", None) for programs."""
    if scope.startswith(_ANY_LIBRARY):
        return _ANY_LIBRARY, None
    return next(((prefix, row) for prefix, row in _SCOPES if scope.startswith(prefix)), ("", None))


def may_carry_usage(scope: str, attributes: Mapping[str, Any]) -> bool:
    """Whether a span that starts may be that of a model call, or of an agent, which may sum up calls."""
    return (
        _instrumentor(scope)[1] is not None
        or bool(_operation(attributes))
        or attributes.get(semconv.OBSERVATION_TYPE) == "agent"
        or attributes.get(semconv.OPERATION) in _AGENT_OPERATIONS
    )


def _operation(attributes: Mapping[str, Any]) -> str:
    for key in (semconv.OPERATION, "llm.request.type", semconv.OBSERVATION_TYPE, "openinference.span.kind"):
        value = attributes.get(key)
        name = value.lower() if type(value) is str else ""
        if name in _EMBEDDING:
            return "embedding"
        if name in _COMPLETION:
            return "completion"
    return ""


def _inputs(tokens: TokenCounts) -> set[int]:
    """The input as instrumentors may count it: with what a cache has read or written, and without."""
    total = tokens.total or tokens.input or 0
    return {total, total - sum(count for name, count in tokens.parts.items() if "cache" in name)}


def _may_be_one(models: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two spans may name the same model: some add its provider or its date."""
    if not models or not others:
        return True
    pairs = [(one.rpartition("/")[2], two.rpartition("/")[2]) for one in models for two in others]
    return any(one.startswith(two) or two.startswith(one) for one, two in pairs)
