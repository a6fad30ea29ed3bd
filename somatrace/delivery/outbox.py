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

from somatrace.delivery.encoding import halves
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.send_result import SendResult, Transport

log = logging.getLogger("somatrace")

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
#: After so many refusals in a row without one batch taken, the target refuses everything: stop halving.
HOPELESS: Final = 24
#: A batch the target failed at so often, while it took as many others, is itself to blame.
PATIENCE: Final = 10


@dataclass
class Batch:
    """One encoded request, its number of spans, and when it was encoded (monotonic seconds)."""

    body: bytes
    spans: int
    since: float
    #: It was sent whole and no answer came.
    ambiguous: bool = False
    #: How often the target failed at it, and how many batches it had taken before the first time.
    failures: int = 0
    taken_before: int = 0


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
        self._taken = 0
        self._too_large: int | None = None  # bytes of the smallest batch that was
        self._told = False
        self._next = self._not_before = 0.0
        self._random.seed(urandom(8))
        self._transport.close()

    @property
    def empty(self) -> bool:
        return not self._batches

    @property
    def size(self) -> int:
        """Bytes not yet answered for."""
        return self._bytes

    @property
    def away(self) -> bool:
        """The target did not take the last batch."""
        return self._failures > 0

    def interrupt(self) -> None:
        self._transport.interrupt()

    def close(self) -> None:
        """Let go of connections; the batches stay."""
        self._transport.close()

    def add(self, body: bytes, spans: int) -> None:
        """Keep a batch until it is answered for; when the bound is reached the oldest are let go."""
        self._batches.append(Batch(body, spans, time.monotonic()))
        self._bytes += len(body)
        self._bound()

    def send(
        self,
        *,
        hurry: bool = False,
        deadline: float | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> float | None:
        """Send what can be sent now; the seconds after which to try again, or None when all is sent.

        `hurry` tries at once even when the last try failed a moment ago, unless the target asked for
        more time; `deadline` (monotonic) bounds the last tries of a process that ends; `stopping`
        says that an interrupted send was no fault of the target, and the rest can wait.
        """
        now = time.monotonic()
        resume = self._not_before if hurry else self._next
        if now < resume:
            return resume - now
        while self._batches and not stopping():
            batch = self._batches[0]
            timeout = self._timeout
            if deadline is not None:
                timeout = min(timeout, deadline - time.monotonic())
                if timeout <= 0:
                    return None
            if batch.spans > 1 and self._too_large is not None and len(batch.body) >= self._too_large:
                self._divide(self._pop())
                continue
            answer = self._ask(batch, timeout)
            if answer.outcome == "retry" and stopping():
                batch.ambiguous = answer.ambiguous
                break
            if answer.outcome == "misconfigured" and self._renewed():
                continue
            if not self._settle(batch, answer):
                return max(0.0, self._next - time.monotonic())
        return None

    def _ask(self, batch: Batch, timeout: float) -> SendResult:
        if batch.ambiguous:
            self._ledger.count("resent_ambiguous", batch.spans)
            batch.ambiguous = False
        try:
            return self._transport.send(batch.body, timeout)
        except (
            Exception
        ) as error:  # a transport does not raise for what a target does: this is a fault of ours
            log.debug("transport failed", exc_info=True)
            return SendResult("retry", f"the transport failed: {type(error).__name__}", ambiguous=True)

    def _settle(self, batch: Batch, answer: SendResult) -> bool:
        """Act on an answer; False when the target should be left alone for a while."""
        if answer.outcome == "accepted":
            self._pop()
            self._taken += 1
            self._refusals = 0
            rejected = min(answer.rejected, batch.spans)
            self._ledger.deliver(batch.spans - rejected, time.monotonic() - batch.since)
            if rejected:
                self._ledger.last_error = f"the target took a batch without {rejected} of its spans"
                self._ledger.lose("rejected", rejected)
            self._back()
            return True
        self._ledger.last_error = answer.message
        if answer.outcome in ("rejected", "too_large"):
            return self._refused(batch, answer)
        batch.ambiguous = answer.ambiguous
        if self._to_blame(batch, answer):
            return self._refused(batch, SendResult("rejected", answer.message))
        self._leave_alone(answer)
        return False

    def _refused(self, batch: Batch, answer: SendResult) -> bool:
        """One bad span makes a whole batch refused: find it by halving, so that the others arrive."""
        self._pop()
        self._refusals += 1
        hopeless = self._refusals > HOPELESS
        if answer.outcome == "too_large" and batch.spans > 1:
            self._too_large = min(len(batch.body), self._too_large or len(batch.body))
        if hopeless or not self._divide(batch):
            self._ledger.lose(answer.outcome, batch.spans)
        if hopeless:
            self._leave_alone(answer)
        else:
            self._failures = 0  # it answers, and means this batch
        return not hopeless

    def _divide(self, batch: Batch) -> bool:
        """Put the two halves of a batch in its place; False when it cannot be divided."""
        portions = halves(batch.body) if batch.spans > 1 else None
        for body, spans in reversed(portions or ()):
            self._batches.appendleft(Batch(body, spans, batch.since, batch.ambiguous))
            self._bytes += len(body)
        self._bound()
        return portions is not None

    def _to_blame(self, batch: Batch, answer: SendResult) -> bool:
        """Whether the target fails at this batch alone. If that may be, others go first the next time."""
        if not (answer.choked or answer.ambiguous):
            return False
        if not batch.failures:
            batch.taken_before = self._taken
        batch.failures += 1
        if batch.failures > PATIENCE and self._taken - batch.taken_before >= PATIENCE:
            return True
        if batch.failures > 1:
            self._batches.rotate(-1)
        return False

    def _leave_alone(self, answer: SendResult) -> None:
        """Try again later, the later the more often it failed; one log line per episode."""
        self._failures += 1
        if not self._told and (self._failures > self._quick or answer.outcome != "retry"):
            self._told = True
            log.warning(
                "tracing target does not take spans (%s); they wait, the program goes on", answer.message
            )
        exponent = self._failures - 1 if answer.outcome == "retry" else self._failures + self._quick
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(exponent, 10)) * self._random.uniform(0.7, 1.0)
        asked = min(answer.retry_after or 0.0, LONGEST_RETRY_AFTER)
        self._not_before = time.monotonic() + asked
        self._next = time.monotonic() + max(wait, asked)

    def _back(self) -> None:
        if self._told:
            log.info("tracing target takes spans again")
        self._told = False
        self._failures = 0

    def _renewed(self) -> bool:
        """Whether keys were read again and have changed; then there is a transport that uses them."""
        try:
            renewed = self._renew()
        except Exception as error:
            log.debug("reading keys again: %s", type(error).__name__)
            return False
        if renewed is None:
            return False
        self._transport.close()
        self._transport = renewed
        return True

    def _bound(self) -> None:
        while self._bytes > self._max_bytes and len(self._batches) > 1:
            self._ledger.lose("backend_away", self._pop().spans)

    def _pop(self) -> Batch:
        batch = self._batches.popleft()
        self._bytes -= len(batch.body)
        return batch
