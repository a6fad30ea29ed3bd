"""A policy that the program answers for, tenant by tenant: asked on a thread of its own, within a time limit.

Late, failing and unusable answers grant nothing. Answers are kept for a short while.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from somatrace.guard.policy.model import ContentPolicy, PolicyEntry, PolicyError
from somatrace.runtime.worker import BackgroundWorker

log = logging.getLogger("somatrace")

Answer = str | Mapping[str, Any] | None
Ask = Callable[[str], Answer]

#: Seconds a callable may take, for which an answer holds, and for which a failure holds.
LIMIT: Final = 0.25
TTL: Final = 30.0
AGAIN: Final = 2.0
MAX_ANSWERS: Final = 10_000

CLOSED: Final = PolicyEntry("none")


class TimedEntry(NamedTuple):
    """An answer and the monotonic moment until which it holds. No entry means the default."""

    entry: PolicyEntry | None
    until: float


class CallableSource:
    """Entries from a callable that takes a tenant's id.

    It answers `none`, `redacted`, an entry in the form of the policy file, or None for the default. `told`
    hears of each new answer.
    """

    def __init__(
        self, ask: Ask, clock: Callable[[], dt.datetime], told: Callable[[str, PolicyEntry | None], None]
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._told = told
        self._said: dict[str, TimedEntry] = {}
        self.problem = ""
        self._forget()
        self._worker: BackgroundWorker[str] = BackgroundWorker(
            "content-policy-ask", self._step, size=1000, batch=1, forget=self._forget
        )

    def entry(self, tenant: str) -> PolicyEntry | None:
        """The tenant's entry, None for the default. Waits LIMIT seconds at most, not at all for the stuck."""
        said = self._said.get(tenant)
        now = time.monotonic()
        if said is not None and now < said.until:
            return said.entry
        began = self._began
        if began and now - began > LIMIT:
            return CLOSED
        arrived = self._waiting.setdefault(tenant, threading.Event())
        if not self._worker.put(tenant) or not arrived.wait(LIMIT):
            self._keep(tenant, TimedEntry(CLOSED, now + AGAIN), "no answer in time")
            return CLOSED
        said = self._said.get(tenant)
        return CLOSED if said is None else said.entry

    def close(self) -> None:
        self._worker.close(0.1)

    def _forget(self) -> None:
        """Nobody is asked and nobody waits: at the start, and in a forked child."""
        self._began = 0.0
        self._waiting: dict[str, threading.Event] = {}

    def _step(self, tenants: Sequence[str]) -> None:
        for tenant in tenants:
            self._began = time.monotonic()
            try:
                self._keep(tenant, self._usable(tenant, self._ask(tenant)), "")
            except BaseException as error:  # also SystemExit: it would end this thread, and nothing else
                mistake = str(error).partition("\n")[0] if isinstance(error, PolicyError) else ""
                reason = mistake or type(error).__name__
                self._keep(tenant, TimedEntry(CLOSED, time.monotonic() + AGAIN), reason)
            finally:
                self._began = 0.0
                arrived = self._waiting.pop(tenant, None)
                if arrived is not None:
                    arrived.set()

    def _usable(self, tenant: str, answer: Answer) -> TimedEntry:
        now, today = time.monotonic(), self._clock()
        if answer is None:
            return TimedEntry(None, now + TTL)
        raw = {"content": answer} if isinstance(answer, str) else answer
        entry = ContentPolicy.parse({"tenants": {tenant: raw}}, now=today).tenants[tenant]
        if not entry.active(today):
            return TimedEntry(None, now + TTL)
        left = TTL if entry.until is None else min(TTL, (entry.until - today).total_seconds())
        return TimedEntry(entry, now + left)

    def _keep(self, tenant: str, said: TimedEntry, problem: str) -> None:
        if len(self._said) >= MAX_ANSWERS:
            self._said.clear()
        self._said[tenant] = said
        line = f"content_policy: the callable grants nothing where it fails: {problem}" if problem else ""
        if line and not self.problem:
            log.warning("%s", line)
        self.problem = line
        self._told(tenant, said.entry)
