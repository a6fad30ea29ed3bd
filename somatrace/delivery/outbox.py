"""Encoded batches: written down, sent in order, kept while the target is unavailable, counted."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from os import urandom
from typing import TYPE_CHECKING, Final

from somatrace.delivery.batch import Batch
from somatrace.delivery.batch_queue import BatchQueue
from somatrace.delivery.ledger import Ledger
from somatrace.delivery.send_result import SendResult, Transport
from somatrace.delivery.tenant_shares import divided
from somatrace.runtime.clock import clock

if TYPE_CHECKING:
    from somatrace.delivery.dead_letters import DeadLetters

log = logging.getLogger("somatrace")

FIRST_WAIT: Final = 0.2
#: Seconds between two probes of a target that is down or overloaded: so late is its return noticed, at most.
LONGEST_WAIT: Final = 5.0
#: Of one that rejects what it gets, until somebody changes a setting.
LONGEST_WAIT_MISCONFIGURED: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
#: After this many rejections in a row without an accepted batch, the configuration is at fault: stop halving.
MAX_REJECTIONS: Final = 24
#: Seconds between two looks for what other processes have left.
LOOK_EVERY: Final = 30.0
#: A batch that failed this often, while as many others were accepted, is treated as rejected.
MAX_FAILURES: Final = 10


class Outbox:
    """Encoded batches that have no final answer yet. One thread sends; others may add meanwhile.

    Until a merge, Langfuse counts a batch twice if it is sent twice. A batch answered with 2xx is
    therefore never sent again; a batch without an answer is sent again and counted as ambiguous.
    A target that reports a wrong key or path is retried less and less often, because keys are rotated
    and paths repaired while services run.
    """

    def __init__(
        self,
        transport: Transport,
        queue: BatchQueue,
        ledger: Ledger,
        *,
        timeout: float,
        quick_retries: int,
        renew: Callable[[], Transport | None] = lambda: None,
        advice: str = "",
        open_dead_letters: Callable[[], DeadLetters] | None = None,
    ) -> None:
        """`advice` is the end of the line that reports a target which rejects everything."""
        self.queue = queue
        self._dead_letters: DeadLetters | None = None
        self._open_dead_letters = open_dead_letters
        self._transport = transport
        self._ledger = ledger
        self._timeout = timeout
        self._quick_retries = quick_retries
        self._renew = renew
        self._advice = advice
        self._around: Callable[[Transport], Transport] = lambda transport: transport
        self._random = random.Random(urandom(8))  # noqa: S311 - jitter; leaves the state of the global `random` alone
        self.forget()

    def forget(self) -> None:
        """Start empty and without connections, as in a forked child: the batches belong to the parent."""
        self.queue.forget()
        if self._dead_letters is not None:
            self._dead_letters.forget()
        self._look_at = 0.0  # when to look for what earlier processes have left
        self._failures = 0
        self._rejections = 0
        self._accepted = 0
        self._failure = ""
        self._too_large: int | None = None  # size in bytes of the smallest rejected as too large
        self._reported = self._awaits_others = False
        self._next = self._not_before = 0.0
        self._random.seed(urandom(8))
        self._transport.close()

    def wrap_transports(self, around: Callable[[Transport], Transport]) -> None:
        """Send through `around(transport)`, now and after each change of keys. To be called before `add`."""
        self._around = around
        self._transport = around(self._transport)

    @property
    def away(self) -> bool:
        """Whether the target failed to accept the last batch."""
        return self._failures > 0

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the target does not accept spans, and why they cannot be written; empty while both work."""
        found = [f"target: {self._failure}"] if self.away else []
        journal = self.queue.journal
        if journal is not None and journal.problem:
            found.append(journal.problem)
        return tuple(found)

    def interrupt(self) -> None:
        self._transport.interrupt()

    def close(self) -> None:
        """Close connections; batches are kept."""
        self._transport.close()

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
        if now < resume and not (self._awaits_others and self.queue.try_others()):
            return resume - now
        if self._rejections:
            self.queue.try_others()
        while not stopping():
            if (batch := self.queue.take(self._too_large, is_probe=self.away)) is None:
                return self._take_over() if deadline is None else None
            timeout = self._timeout if deadline is None else min(self._timeout, deadline - clock.monotonic())
            if timeout <= 0:
                self.queue.put_back(batch)
                return None
            if not self._is_ready(batch):
                continue
            result = self._send_batch(batch, timeout)
            if result.outcome == "retry" and stopping():
                batch.ambiguous = result.ambiguous
                self.queue.put_back(batch)
                break
            if result.outcome == "misconfigured" and self._renew_keys():
                self.queue.put_back(batch)
                continue
            if not self._handle(batch, result):
                return max(0.0, self._next - clock.monotonic())
        return None

    def _take_over(self) -> float | None:
        """Take over what an earlier process left, a segment at a time; return the seconds to the next look.

        A process that sends nothing looks too: it may be the only one of its service that lives.
        """
        now = clock.monotonic()
        if now >= self._look_at or self.queue.has_set_aside:
            if self.queue.add_left():
                return 0.0
            self._look_at = now + LOOK_EVERY
            if (dead_letters := self._opened_dead_letters()) is not None:
                dead_letters.expire()
        return self._look_at - now if self.queue.journal is not None else None

    def _is_ready(self, batch: Batch) -> bool:
        """Whether a batch can be sent; otherwise it is lost, or what it was split into is in its place."""
        if not self.queue.read(batch):
            return False
        # of a process with another limit, such as one for another target
        if batch.spans > self.queue.batch_size and self.queue.split(batch, self.queue.batch_size):
            return False
        too_large = self._too_large is not None and batch.spans > 1 and batch.length >= self._too_large
        return not (too_large and self.queue.split(batch))

    def _send_batch(self, batch: Batch, timeout: float) -> SendResult:
        if batch.ambiguous:
            self._ledger.count("resent_ambiguous", batch.spans)
            batch.ambiguous = False
        assert batch.body is not None
        try:
            return self._transport.send(batch.body, timeout)
        except Exception as error:  # transports do not raise for target errors: a bug in somatrace
            log.debug("transport failed", exc_info=True)
            return SendResult("retry", f"the transport failed: {type(error).__name__}", ambiguous=True)

    def _handle(self, batch: Batch, result: SendResult) -> bool:
        """Act on a result; return False if the target needs a pause."""
        if result.outcome == "accepted":
            self.queue.finish(batch)
            self._accepted += 1
            if self._rejections:
                self._rejections = 0
                self.queue.suspect_rejected()
            rejected = min(result.rejected, batch.spans)
            lost, delivered = divided(batch.tenants, rejected)
            self._ledger.deliver(delivered, clock.monotonic() - batch.since)
            for reason, spans in result.evicted.items():
                self._ledger.evict(reason, spans)
            if rejected:
                self._ledger.last_error = f"the target accepted a batch but rejected {rejected} of its spans"
                self._ledger.lose_waiting("rejected", lost)
            self._recovered()
            return True
        self._failure = self._ledger.last_error = result.message
        if result.outcome in ("rejected", "too_large"):
            return self._reject(batch, result)
        batch.ambiguous = result.ambiguous
        if self._is_culprit(batch, result):
            batch.is_suspect = True
            return self._reject(batch, replace(result, outcome="rejected"))
        # if this batch may be the cause, others are sent first next time
        self.queue.put_back(batch, last=batch.failures > 1)
        self._back_off(result)
        return False

    def _reject(self, batch: Batch, result: SendResult) -> bool:
        """Isolate the spans that are rejected; return False if it may be the configuration instead.

        Spans are at fault if an answer names them, or if they are rejected again after others were accepted.
        Until then everything is kept. A batch is halved all the same, to find out whether a half is accepted.
        """
        self._rejections += 1
        batch.rejections += 1
        batch.is_suspect |= result.names_spans
        if result.outcome == "too_large" and batch.spans > 1:
            self._too_large = min(batch.length, self._too_large or batch.length)
        if result.names_spans or self._rejections < MAX_REJECTIONS:
            if batch.is_suspect:
                self._failures = 0  # the target works and rejects only these spans
            if self.queue.split(batch):
                return True
            if batch.is_suspect:
                self._set_aside(batch, result)
                return True
        self.queue.put_back(batch, last=True)
        if self._rejections <= MAX_REJECTIONS and self._has_others():
            return True
        self._failure = self._ledger.last_error = f"{result.message}{self._advice}"
        # others are accepted or not: until there are some, nobody knows what is at fault
        awaits_others = batch.is_suspect or self._rejections <= MAX_REJECTIONS
        self._back_off(
            replace(result, message=self._failure), awaits_others=awaits_others, quietly=batch.is_suspect
        )
        return False

    def _set_aside(self, batch: Batch, result: SendResult) -> None:
        """Keep a batch as a dead letter, if there is a place for them; otherwise it is lost."""
        dead_letters = self._opened_dead_letters()
        is_kept = dead_letters is not None and dead_letters.add(batch, result)
        self.queue.lose("dead_letter" if is_kept else result.outcome, batch)

    def _opened_dead_letters(self) -> DeadLetters | None:
        """Where bad spans are kept; None where spans wait in memory only."""
        opens = None if self.queue.journal is None else self._open_dead_letters
        if self._dead_letters is None and opens is not None:
            self._dead_letters = opens()
        return self._dead_letters

    def _has_others(self) -> bool:
        """Whether a batch is next that was not rejected, of this process or of an earlier one."""
        return self.queue.try_others() or (self.queue.add_left() and self.queue.try_others())

    def _is_culprit(self, batch: Batch, result: SendResult) -> bool:
        """Whether the target fails for this batch only."""
        if not (result.choked or result.ambiguous):
            return False
        if not batch.failures:
            batch.accepted_before = self._accepted
        batch.failures += 1
        return batch.failures > MAX_FAILURES and self._accepted - batch.accepted_before >= MAX_FAILURES

    def _back_off(self, result: SendResult, *, awaits_others: bool = False, quietly: bool = False) -> None:
        """Schedule the next try with exponential backoff, logging one line per outage unless `quietly`.

        With `awaits_others`, a batch that was not rejected yet is tried at once.
        """
        self._awaits_others = awaits_others
        self._failures += 1
        exponent, longest = self._failures - 1, LONGEST_WAIT
        if result.outcome != "retry":
            exponent, longest = self._failures + self._quick_retries, LONGEST_WAIT_MISCONFIGURED
        wait = min(longest, FIRST_WAIT * 2.0 ** min(exponent, 10)) * self._random.uniform(0.7, 1.0)
        asked = min(result.retry_after or 0.0, LONGEST_RETRY_AFTER)
        self._not_before = clock.monotonic() + asked
        self._next = clock.monotonic() + max(wait, asked)
        if quietly or self._reported:
            return
        if self._failures > self._quick_retries or result.outcome != "retry":
            self._reported = True
            # last: a handler, or a clock that the program has replaced, may raise
            log.warning(
                "tracing target does not accept spans (%s); they wait and the program continues",
                result.message,
            )

    def _recovered(self) -> None:
        reported, self._reported = self._reported, False
        self._failures = 0
        self._awaits_others = False
        self._next = self._not_before = 0.0  # a probe may have come early
        if reported:
            log.info("tracing target accepts spans again")

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
