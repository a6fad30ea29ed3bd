"""Targets that fail in one way, and accept spans at the same address afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.support.otlp_server import OtlpServer, Reply, otlp_server

#: How a target answers each request.
FAILURES: Final[dict[str, Reply]] = {
    "hangs": Reply(delay=-1),
    "answers 503": Reply(503),
    "answers 500": Reply(500),
    "answers 429, Retry-After 300": Reply(429, headers={"Retry-After": "300"}),
    "answers 401": Reply(401),
    "answers 404": Reply(404),
    "answers 400": Reply(400),
    "answers 413": Reply(413),
    "hangs up after reading": Reply(hang_up=True),
}
#: The target accepts connections only after `recover`.
REFUSES: Final = "refuses connections"
#: The same, but the spans are kept: whoever sends them cannot know.
STORES: Final = "keeps a batch and hangs up"
#: Half a second for each request.
SLOW: Final = "accepts slowly"
#: What becomes of a single request: a target that accepts all others.
ONCE: Final[dict[str, Callable[[int], Reply]]] = {
    STORES: lambda number: Reply(hang_up=True, stores=True) if not number else Reply(),
    SLOW: lambda _: Reply(delay=0.5),
}


@contextmanager
def failing(failure: str) -> Iterator[OtlpServer]:
    """A target with one of the failures above."""
    with otlp_server(listens=failure != REFUSES) as server:
        if failure in ONCE:
            server.reply = ONCE[failure]
        elif failure in FAILURES:
            server.reply = lambda _: FAILURES[failure]
        yield server


def recover(server: OtlpServer, failure: str) -> None:
    """Accept everything from now on."""
    server.reply = lambda _: Reply()
    if failure == REFUSES:
        server.listen()


def copies(server: OtlpServer) -> Counter[str]:
    """How often each span has arrived, by its id."""
    return Counter(span.span_id for span in list(server.spans))
