"""Collect what the name of a span is decided from."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from somatrace import semconv
from somatrace.context.span_state import Naming, state_of
from somatrace.guard.request_names import is_named_after_request
from somatrace.pipeline.span_parts import held_attributes

#: Attributes of HTTP requests besides the method, in the current conventions and the ones before.
_REQUEST: Final = frozenset({"url.scheme", "http.scheme", "url.path", "http.target", "url.full", "http.url"})
_WEBSOCKET: Final = ("ws", "wss")
_MAX_NAME: Final = 128
#: Names that are remembered of a scope.
_MAX_KNOWN: Final = 256
_RPC: Final = frozenset({"rpc.system", "rpc.system.name", "rpc.service"})


def naming_at_start(span: ReadableSpan, known: dict[str, Naming]) -> Naming:
    """The naming of a span that has no state yet. `known` are those of its scope by name. Never raises."""
    name = span._name
    if type(name) is not str or span._kind is SpanKind.SERVER:
        return naming_of(span)
    found = known.get(name)
    if found is None:
        found = naming_of(span)
        if len(known) < _MAX_KNOWN and is_plain(span):
            found = known[name] = found._replace(is_plain=True)
    return found


def naming_of(span: ReadableSpan) -> Naming:
    """A span's name and the parts that decide whether it may leave. Never raises."""
    try:
        return _naming_of(span)
    except Exception:  # attributes may be any objects
        return Naming("", span.instrumentation_scope)


def renamed(span: ReadableSpan, known: Naming, given: str | None) -> Naming:
    """The naming of an ended span, of which `known` was right when it started. `given` is its name as `span`
    got it."""
    name = span._name
    if (
        type(name) is str
        and name == known[0]
        and (given is None or given == name)
        and span._kind is not SpanKind.SERVER
        and not _is_named_after_request(name)
    ):
        return known  # most spans
    return naming_of(span)


def is_plain(span: ReadableSpan) -> bool:
    """Whether a span's name and scope alone decide about its name: it is short, and not that of a request."""
    name = span.name
    return (
        type(name) is str
        and len(name) <= _MAX_NAME
        and span.kind is not SpanKind.SERVER
        and not _is_named_after_request(name)
        and not _is_renamed(span, name)
    )


@lru_cache(maxsize=1024)
def _known_name(name: str) -> bool:
    return is_named_after_request(name)


def _is_named_after_request(name: str) -> bool:
    return _known_name(name) if len(name) <= _MAX_NAME else is_named_after_request(name)


def _is_renamed(span: ReadableSpan, name: str) -> bool:
    """Whether a span has lost the name that `span` gave it: by a processor's `on_start`, for example."""
    state = state_of(span)
    return state is not None and state.name is not None and state.name != name


def _naming_of(span: ReadableSpan) -> Naming:
    name = str.__str__(span.name)  # a subclass may override hashing and comparison
    kind, scope = span.kind, span.instrumentation_scope
    if kind is not SpanKind.SERVER and not _is_named_after_request(name):
        return Naming(name, scope, is_renamed=_is_renamed(span, name))
    attributes = held_attributes(span)
    get = attributes.get
    method = get(semconv.HTTP_METHOD) or get(semconv.HTTP_METHOD_BEFORE)
    is_client = kind is SpanKind.CLIENT
    route = get(semconv.URL_TEMPLATE if is_client else semconv.HTTP_ROUTE)
    return Naming(
        name,
        scope,
        kind is SpanKind.SERVER,
        is_client,
        method is not None or not _REQUEST.isdisjoint(attributes),
        method if type(method) is str else "",
        route if type(route) is str else "",
        get("url.scheme") in _WEBSOCKET or get("http.scheme") in _WEBSOCKET,
        not _RPC.isdisjoint(attributes),
        _is_renamed(span, name),
    )
