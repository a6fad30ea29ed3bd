"""Bounded queue of encoded batches: sent in order, kept while the target is unavailable, counted."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from typing import Final

from somatrace.delivery.ledger import Ledger
from somatrace.delivery.request_halves import halves
from somatrace.delivery.send_result import SendResult, Transport
from somatrace.runtime.clock import clock

log = logging.getLogger("somatrace")

FIRST_WAIT: Final = 0.2
LONGEST_WAIT: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
#: After this many rejections in a row without an accepted batch, the target rejects everything: stop halving.
MAX_REJECTIONS: Final = 24
#: A batch that failed this often, while as many others were accepted, is treated as rejected.
MAX_FAILURES: Final = 10


@dataclass
class Batch:
    """One encoded request, its number of spans, and its time of encoding (monotonic seconds)."""

    body: bytes
    spans: int
    since: float
    #: Sent completely but not answered.
    ambiguous: bool = False
    #: Number of failures, and how many batches the target had accepted before the first one.
    failures: int = 0
    accepted_before: int = 0


class Outbox:
    """Encoded batches that have no final answer yet. Used by one thread, the pipeline's worker.

    Until a merge, Langfuse counts a batch twice if it is sent twice. A batch answered with 2xx is
    therefore never sent again; a batch without an answer is sent again and counted as ambiguous.
    A target that reports a wrong key or path is retried less and less often, because keys are rotated
    and paths repaired while services run.
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
        self._quick_retries = quick_retries
        self._renew = renew
        self._around: Callable[[Transport], Transport] = lambda transport: transport
        self._random = random.Random(urandom(8))  # noqa: S311 - jitter; leaves the state of the global `random` alone
        self.forget()

    def forget(self) -> None:
        """Start empty and without connections, as in a forked child: the batches belong to the parent."""
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._failures = 0
        self._rejections = 0
        self._accepted = 0
        self._failure = ""
        self._too_large: int | None = None  # size in bytes of the smallest rejected as too large
        self._reported = False
        self._next = self._not_before = 0.0
        self._random.seed(urandom(8))
        self._transport.close()

    def wrap_transports(self, around: Callable[[Transport], Transport]) -> None:
        """Send through `around(transport)`, now and after each change of keys. To be called before `add`."""
        self._around = around
        self._transport = around(self._transport)

    @property
    def empty(self) -> bool:
        return not self._batches

    @property
    def size(self) -> int:
        """Bytes of all waiting batches."""
        return self._bytes

    @property
    def away(self) -> bool:
        """Whether the target failed to accept the last batch."""
        return self._failures > 0

    @property
    def problem(self) -> str:
        """Why the target does not accept spans; "" while it does."""
        return f"target: {self._failure}" if self.away else ""

    def interrupt(self) -> None:
        self._transport.interrupt()

    def close(self) -> None:
        """Close connections; batches are kept."""
        self._transport.close()

    def add(self, body: bytes, spans: int) -> None:
        """Keep a batch until it is answered; above the size limit the oldest batches are dropped."""
        self._batches.append(Batch(body, spans, clock.monotonic()))
        self._bytes += len(body)
        self._drop_oldest()

    def send(
        self,
        *,
        hurry: bool = False,
        deadline: float | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> float | None:
        """Send as many batches as possible; return the seconds until the next try, or None if all are sent.

        `hurry` ignores the wait after a failure, except for a wait that the target asked for.
        `deadline` (monotonic seconds) limits the last tries of an ending process. If `stopping`
        returns true, an interrupted send does not count as a failure and the rest waits.
        """
        now = clock.monotonic()
        resume = self._not_before if hurry else self._next
        if now < resume:
            return resume - now
        while self._batches and not stopping():
            batch = self._batches[0]
            timeout = self._timeout
            if deadline is not None:
                timeout = min(timeout, deadline - clock.monotonic())
                if timeout <= 0:
                    return None
            if batch.spans > 1 and self._too_large is not None and len(batch.body) >= self._too_large:
                self._split(self._pop())
                continue
            result = self._send_batch(batch, timeout)
            if result.outcome == "retry" and stopping():
                batch.ambiguous = result.ambiguous
                break
            if result.outcome == "misconfigured" and self._renew_keys():
                continue
            if not self._handle(batch, result):
                return max(0.0, self._next - clock.monotonic())
        return None

    def _send_batch(self, batch: Batch, timeout: float) -> SendResult:
        if batch.ambiguous:
            self._ledger.count("resent_ambiguous", batch.spans)
            batch.ambiguous = False
        try:
            return self._transport.send(batch.body, timeout)
        except Exception as error:  # transports do not raise for target errors: a bug in somatrace
            log.debug("transport failed", exc_info=True)
            return SendResult("retry", f"the transport failed: {type(error).__name__}", ambiguous=True)

    def _handle(self, batch: Batch, result: SendResult) -> bool:
        """Act on a result; return False if the target needs a pause."""
        if result.outcome == "accepted":
            self._pop()
            self._accepted += 1
            self._rejections = 0
            rejected = min(result.rejected, batch.spans)
            self._ledger.deliver(batch.spans - rejected, clock.monotonic() - batch.since)
            for reason, spans in result.evicted.items():
                self._ledger.evict(reason, spans)
            if rejected:
                self._ledger.last_error = f"the target accepted a batch but rejected {rejected} of its spans"
                self._ledger.lose("rejected", rejected)
            self._recovered()
            return True
        self._failure = self._ledger.last_error = result.message
        if result.outcome in ("rejected", "too_large"):
            return self._reject(batch, result)
        batch.ambiguous = result.ambiguous
        if self._is_culprit(batch, result):
            return self._reject(batch, SendResult("rejected", result.message))
        self._back_off(result)
        return False

    def _reject(self, batch: Batch, result: SendResult) -> bool:
        """Halve a rejected batch to isolate the bad span, so that the others arrive."""
        self._pop()
        self._rejections += 1
        hopeless = self._rejections > MAX_REJECTIONS
        if result.outcome == "too_large" and batch.spans > 1:
            self._too_large = min(len(batch.body), self._too_large or len(batch.body))
        if hopeless or not self._split(batch):
            self._ledger.lose(result.outcome, batch.spans)
        if hopeless:
            self._back_off(result)
        else:
            self._failures = 0  # the target works and rejects only this batch
        return not hopeless

    def _split(self, batch: Batch) -> bool:
        """Replace a batch by its two halves; return False if it cannot be split."""
        parts = halves(batch.body) if batch.spans > 1 else None
        for body, spans in reversed(parts or ()):
            self._batches.appendleft(Batch(body, spans, batch.since, batch.ambiguous))
            self._bytes += len(body)
        self._drop_oldest()
        return parts is not None

    def _is_culprit(self, batch: Batch, result: SendResult) -> bool:
        """Whether the target fails for this batch only. If it may, others are sent first next time."""
        if not (result.choked or result.ambiguous):
            return False
        if not batch.failures:
            batch.accepted_before = self._accepted
        batch.failures += 1
        if batch.failures > MAX_FAILURES and self._accepted - batch.accepted_before >= MAX_FAILURES:
            return True
        if batch.failures > 1:
            self._batches.rotate(-1)
        return False

    def _back_off(self, result: SendResult) -> None:
        """Schedule the next try with exponential backoff, logging one line per outage."""
        self._failures += 1
        if not self._reported and (self._failures > self._quick_retries or result.outcome != "retry"):
            self._reported = True
            log.warning(
                "tracing target does not accept spans (%s); they wait and the program continues",
                result.message,
            )
        exponent = self._failures - 1 if result.outcome == "retry" else self._failures + self._quick_retries
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(exponent, 10)) * self._random.uniform(0.7, 1.0)
        asked = min(result.retry_after or 0.0, LONGEST_RETRY_AFTER)
        self._not_before = clock.monotonic() + asked
        self._next = clock.monotonic() + max(wait, asked)

    def _recovered(self) -> None:
        if self._reported:
            log.info("tracing target accepts spans again")
        self._reported = False
        self._failures = 0

    def _renew_keys(self) -> bool:
        """Reread the keys; if they have changed, switch to a transport that uses them and return True."""
        try:
            renewed = self._renew()
        except Exception as error:
            log.debug("rereading keys failed: %s", type(error).__name__)
            return False
        if renewed is None:
            return False
        self._transport.close()
        self._transport = self._around(renewed)
        return True

    def _drop_oldest(self) -> None:
        while self._bytes > self._max_bytes and len(self._batches) > 1:
            self._ledger.lose("backend_away", self._pop().spans)

    def _pop(self) -> Batch:
        batch = self._batches.popleft()
        self._bytes -= len(batch.body)
        return batch
