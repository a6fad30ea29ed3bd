"""The headers with which a request leaves: the program's own and the trace headers for its host.

They are made for one sending. The program's objects are never changed: it may send the same request again,
for another tenant, to another host or from several threads at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from somatrace import propagation, semconv
from somatrace.instrumentation.call_context import in_llm_call
from somatrace.instrumentation.http.telemetry_requests import is_to_target

log = logging.getLogger("somatrace")

#: Headers that reveal traces and tenants. Only somatrace sets them: whatever the program or another
#: instrumentation has written may be an untrusted caller's, or belong to another task.
_TRACE_HEADERS: Final = frozenset(
    {semconv.HEADER_TRACEPARENT, semconv.HEADER_TRACESTATE, "baggage", semconv.HEADER_TAGS}
)
#: Headers that other systems read as well: the program's own stay.
_IDS: Final = frozenset({semconv.HEADER_CORRELATION, semconv.HEADER_REQUEST})
_PLAIN: Final = frozenset({"http", "ws"})
Text = str | bytes


class Destination(NamedTuple):
    """The server of a request, and the proxy that forwards it."""

    host: str
    port: int | None
    scheme: str = ""
    proxy: tuple[str, int | None] | None = None

    def is_allowed(self) -> bool:
        """Whether trace headers may be sent. A proxy reads those of a request that is not encrypted."""
        seen_by_proxy = self.proxy is not None and self.scheme in _PLAIN
        return (
            propagation.may_carry(self.host, self.port)
            and (not seen_by_proxy or self.proxy is None or propagation.may_carry(*self.proxy))
            and not is_to_target(self.host, self.port)
            and not in_llm_call()
        )


def wire_headers(own: Iterable[tuple[Text, Text]], to: Destination) -> list[tuple[Text, Text]] | None:
    """The names and values to send in place of the program's `own`, which keep their order and spelling.

    None if that cannot be found out: then they are sent unchanged.
    """
    try:
        added = propagation.headers_for(to.host, to.port) if to.is_allowed() else {}
        replaced = _TRACE_HEADERS.union(name.lower() for name in added) - _IDS
        kept = [
            (name, value)
            for name, value in own
            if _lower(name) not in replaced and not (added and _is_passed_on(name, value))
        ]
        present = _IDS.intersection(_lower(name) for name, _ in kept)
        return kept + [(name, value) for name, value in added.items() if name not in present]
    except Exception:
        log.debug("the headers of a request are left unchanged", exc_info=True)
        return None


def copy_of(request: Any, own: Iterable[tuple[Text, Text]], to: Destination) -> Any:
    """A copy of a request object for one sending, or the object itself if it cannot be copied."""
    headers = wire_headers(own, to)
    if headers is None:
        return request
    try:
        copied = object.__new__(type(request))
        # not copy.copy: the requests of httpx leave out their body then
        vars(copied).update(vars(request))
        copied.headers = type(request.headers)(headers)
    except Exception:
        log.debug("a request is sent without trace headers", exc_info=True)
        return request
    return copied


def _is_passed_on(name: Text, value: Text) -> bool:
    """Whether an id is an untrusted caller's: the program sends on the headers of its own request."""
    lower = _lower(name)
    return lower in _IDS and propagation.is_claimed(lower, _text(value))


def _lower(name: Text) -> str:
    return _text(name).strip().lower()


def _text(word: Text) -> str:
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)
