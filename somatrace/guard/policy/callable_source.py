"""Policy entries from a callable, called once per tenant on a separate thread, with a time limit.

Late, failing and invalid results grant nothing. Results are cached for a short time.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from somatrace.guard.policy.model import ContentPolicy, PolicyEntry, PolicyError
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import CurrentProblem
from somatrace.runtime.worker import BackgroundWorker

Answer = str | Mapping[str, Any] | None
Ask = Callable[[str], Answer]

#: Seconds: the callable's time limit, the lifetime of a result, and the lifetime of a failure.
LIMIT: Final = 0.25
TTL: Final = 30.0
AGAIN: Final = 2.0
MAX_ANSWERS: Final = 10_000

CLOSED: Final = PolicyEntry("none")


class TimedEntry(NamedTuple):
    """A result and the monotonic time at which it expires. No entry means the default."""

    entry: PolicyEntry | None
    until: float


class CallableSource:
    """Entries from a callable that takes a tenant's id.

    It returns `none`, `redacted`, an entry in the form of the policy file, or None for the default.
    `on_result` is called for each new result.
    """

    def __init__(
        self, ask: Ask, clock: Callable[[], dt.datetime], on_result: Callable[[str, PolicyEntry | None], None]
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._on_result = on_result
        self._results: dict[str, TimedEntry] = {}
        self._problem = CurrentProblem(each_change=False)
        self._forget()
        self._worker: BackgroundWorker[str] = BackgroundWorker(
            "content-policy-ask", self._step, size=1000, batch=1, forget=self._forget
        )

    @property
    def problem(self) -> str:
        """The failure of the latest call, "" if it did not fail."""
        return self._problem.line

    def entry(self, tenant: str) -> PolicyEntry | None:
        """The tenant's entry, None for the default. Waits at most LIMIT seconds, never for a stuck call."""
        result = self._results.get(tenant)
        now = clock.monotonic()
        if result is not None and now < result.until:
            return result.entry
        began = self._began
        if began and now - began > LIMIT:
            return CLOSED
        arrived = self._waiting.setdefault(tenant, threading.Event())
        if not self._worker.put(tenant) or not arrived.wait(LIMIT):
            self._keep(tenant, TimedEntry(CLOSED, now + AGAIN), "no result in time")
            return CLOSED
        result = self._results.get(tenant)
        return CLOSED if result is None else result.entry

    def close(self) -> None:
        self._worker.close(0.1)

    def _forget(self) -> None:
        """Reset pending calls and waiters, at start and in a forked child."""
        self._began = 0.0
        self._waiting: dict[str, threading.Event] = {}

    def _step(self, tenants: Sequence[str]) -> None:
        for tenant in tenants:
            self._began = clock.monotonic()
            try:
                self._keep(tenant, self._validated(tenant, self._ask(tenant)), "")
            except BaseException as error:  # includes SystemExit, which would end only this thread
                mistake = str(error).partition("\n")[0] if isinstance(error, PolicyError) else ""
                reason = mistake or type(error).__name__
                self._keep(tenant, TimedEntry(CLOSED, clock.monotonic() + AGAIN), reason)
            finally:
                self._began = 0.0
                arrived = self._waiting.pop(tenant, None)
                if arrived is not None:
                    arrived.set()

    def _validated(self, tenant: str, answer: Answer) -> TimedEntry:
        now, today = clock.monotonic(), self._clock()
        if answer is None:
            return TimedEntry(None, now + TTL)
        raw = {"content": answer} if isinstance(answer, str) else answer
        entry = ContentPolicy.parse({"tenants": {tenant: raw}}, now=today).tenants[tenant]
        if not entry.active(today):
            return TimedEntry(None, now + TTL)
        left = TTL if entry.until is None else min(TTL, (entry.until - today).total_seconds())
        return TimedEntry(entry, now + left)

    def _keep(self, tenant: str, result: TimedEntry, problem: str) -> None:
        if len(self._results) >= MAX_ANSWERS:
            self._results.clear()
        self._results[tenant] = result
        failed = "content_policy: the callable failed, so nothing is granted"
        self._problem.set(f"{failed}: {problem}" if problem else "")
        self._on_result(tenant, result.entry)
