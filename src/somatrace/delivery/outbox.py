"""Encoded batches on their way: sent in order, kept while the target is away, bounded, counted."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from typing import Final

from somatrace.delivery.answer import Answer, Transport
from somatrace.delivery.encode import halves
from somatrace.delivery.ledger import Ledger

log = logging.getLogger("somatrace")

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 30.0
#: After so many refusals in a row without one batch taken, the target refuses everything: stop halving.
HOPELESS: Final = 24


@dataclass
class Batch:
    """One encoded request, its number of spans, and when it was encoded (monotonic seconds)."""

    body: bytes
    spans: int
    since: float


class Outbox:
    """What is encoded and not yet answered for. Used by one thread, the road's worker.

    Langfuse counts a batch twice when it is sent twice, until a merge: a batch answered with 2xx is
    never sent again, and one whose answer did not come is sent again and counted as ambiguous.
    A target that answers that something is wrong with key or path is asked again, ever more rarely:
    keys are rotated and paths repaired while services run.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        max_bytes: int,
        timeout: float,
        quick_retries: int,
        renew: Callable[[], Transport | None] = lambda: None,
    ) -> None:
        self._transport = transport
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._quick = quick_retries
        self._renew = renew
        self._random = random.Random(urandom(8))  # noqa: S311 - jitter; the program's own `random` is not ours to touch
        self.forget()

    def forget(self) -> None:
        """Start empty, without connections: in a forked child all of it is the parent's."""
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._failures = 0
        self._refusals = 0
        self._next = 0.0
        self._transport.close()

    @property
    def empty(self) -> bool:
        return not self._batches

    @property
    def waiting(self) -> tuple[int, int]:
        """Spans and bytes not yet answered for."""
        return sum(batch.spans for batch in list(self._batches)), self._bytes

    @property
    def away(self) -> bool:
        """The target did not take the last batch."""
        return self._failures > 0

    def interrupt(self) -> None:
        self._transport.interrupt()

    def close(self) -> None:
        self._transport.close()

    def add(self, body: bytes, spans: int) -> None:
        """Keep a batch until it is answered for; when the bound is reached the oldest are let go."""
        self._batches.append(Batch(body, spans, time.monotonic()))
        self._bytes += len(body)
        while self._bytes > self._max_bytes and len(self._batches) > 1:
            self._ledger.lose("backend_away", self._pop().spans)

    def send(self, *, hurry: bool = False, deadline: float | None = None) -> float | None:
        """Send what can be sent now; the seconds after which to try again, or None when all is sent.

        `hurry` tries at once even when the last try failed a moment ago; `deadline` (monotonic) bounds
        the last tries of a process that ends.
        """
        now = time.monotonic()
        if not hurry and now < self._next:
            return self._next - now
        while self._batches:
            timeout = self._timeout
            if deadline is not None:
                timeout = min(timeout, deadline - time.monotonic())
                if timeout <= 0:
                    return 0.0
            answer = self._transport.send(self._batches[0].body, timeout)
            if answer.outcome == "wrong" and (fresh := self._fresh()):
                answer = fresh.send(self._batches[0].body, timeout)
            if not self._settle(answer):
                return max(0.0, self._next - time.monotonic())
        return None

    def _settle(self, answer: Answer) -> bool:
        """Act on an answer; False when the target should be left alone for a while."""
        if answer.outcome in ("ok", "refused", "too_large"):
            if self._failures:
                log.info("tracing target is back")
            self._failures = 0
            batch = self._pop()
            if answer.outcome == "ok":
                self._refusals = 0
                self._ledger.deliver(batch.spans - answer.rejected, time.monotonic() - batch.since)
                if answer.rejected:
                    self._ledger.lose("rejected", answer.rejected)
            else:
                self._ledger.last_error = answer.message
                self._divide(batch, answer)
            return True
        self._ledger.last_error = answer.message
        if answer.ambiguous:
            self._ledger.count("resent_ambiguous", self._batches[0].spans)
        self._failures += 1
        if self._failures == self._quick + 1 or (answer.outcome == "wrong" and self._failures == 1):
            log.warning(
                "tracing target does not take spans (%s); they wait, the program goes on", answer.message
            )
        self._next = time.monotonic() + self._wait(answer)
        return False

    def _wait(self, answer: Answer) -> float:
        exponent = self._failures - 1 if answer.outcome == "retry" else self._failures + self._quick
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(exponent, 10)) * self._random.uniform(0.7, 1.0)
        return max(wait, min(answer.retry_after or 0.0, LONGEST_WAIT * 4))

    def _divide(self, batch: Batch, answer: Answer) -> None:
        """One bad span makes a whole batch refused: find it by halving, so that the others arrive."""
        self._refusals += 1
        portions = halves(batch.body) if self._refusals <= HOPELESS else None
        if portions is None:
            self._ledger.lose(answer.outcome, batch.spans)
            log.debug("a span was %s: %s", answer.outcome, answer.message)
            return
        for body, spans in reversed(portions):
            self._batches.appendleft(Batch(body, spans, batch.since))
            self._bytes += len(body)

    def _fresh(self) -> Transport | None:
        """A transport with keys read again, when they changed."""
        renewed = self._renew()
        if renewed is None:
            return None
        self._transport.close()
        self._transport = renewed
        return renewed

    def _pop(self) -> Batch:
        batch = self._batches.popleft()
        self._bytes -= len(batch.body)
        return batch
