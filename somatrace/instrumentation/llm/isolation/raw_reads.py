"""Observe what the program reads of the HTTP response that a client has returned.

All ways to read it, also those of the client, take its bytes from one of four methods.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.feed import Observer
from somatrace.instrumentation.llm.isolation.observed import (
    Methods,
    around_generator,
    closing,
    iterating,
    observe,
)
from somatrace.instrumentation.llm.isolation.observers import observer_of
from somatrace.instrumentation.llm.isolation.postponed import Postponed
from somatrace.instrumentation.llm.isolation.raw_answers import Body, Bytes, Events


def follow_events(raw: Any, observer: Observer) -> None:
    """Pass the events of a streamed answer to `observer`, as the program reads their bytes."""
    try:
        events = Events(raw, observer)
    except Exception:  # a client of another form
        observer.ended()
    else:
        observe(raw.http_response, Bytes(events), _METHODS)


def follow_body(raw: Any, call: Any, waiting: Postponed) -> None:
    """Let the wrapper of `call` record the answer once the program has read it."""
    observe(raw.http_response, Bytes(Body(raw, call, waiting)), _METHODS)


def _iterating_encoded(method: Callable[..., Any]) -> Any:
    """`iter_raw`, observed: it gives the bytes as they were sent."""

    @functools.wraps(method)
    def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
        observer = observer_of(self)
        iterator = method(self, *args, **kwargs)
        if not isinstance(observer, Bytes):
            return iterator
        encoding = str(self.headers.get("content-encoding", "")).strip().lower()
        return around_generator(iterator, observer.encoded(encoding), whole=False)

    return observed


_METHODS: Final[Methods] = {
    "iter_bytes": iterating,
    "aiter_bytes": iterating,
    "iter_raw": _iterating_encoded,
    "aiter_raw": _iterating_encoded,
    "close": closing,
    "aclose": closing,
}
