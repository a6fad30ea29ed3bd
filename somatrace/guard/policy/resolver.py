"""Resolve a tenant to its current grant, from a policy in code, a watched file, or a callable.

Every span resolves its grant from a table, which is rebuilt when an entry ends or the file changes, checked
once a second. The file and the callable are read on separate threads. Any failure grants nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from somatrace import semconv
from somatrace.guard.policy.callable_source import Ask, CallableSource
from somatrace.guard.policy.model import (
    NOTHING,
    ContentPolicy,
    Default,
    Grant,
    PolicyEntry,
    PolicyError,
    stricter,
)
from somatrace.runtime import fork
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import LogOnce

if TYPE_CHECKING:
    from somatrace.guard.policy.file_source import PolicyFile

log = logging.getLogger("somatrace")
audit = logging.getLogger("somatrace.audit")

#: Seconds between checks of the clock and the file.
INTERVAL: Final = 1.0
MAX_ASKED: Final = 10_000

#: The policy in force if none was given in code.
_UNSET: Final = ContentPolicy()

AT_ONCE: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)

Clock = Callable[[], dt.datetime]
Source = ContentPolicy | Mapping[str, Any] | Ask | None


class PolicyResolver:
    """Resolves tenants to grants.

    `source` is a policy, plain data in the form of the file, or a callable that returns `none`, `redacted`,
    an entry, or None for the default, for one tenant. `path` is a policy file; if both are given, the file
    takes precedence. `default` is the process-wide setting, None if not set. `never` turns all content off.
    Errors are reported in `problems`; nothing is raised.
    """

    def __init__(
        self,
        source: Source = None,
        *,
        path: Path | None = None,
        default: Default | None = None,
        never: bool = False,
        clock: Clock = clock.now,
    ) -> None:
        self._default = default
        self._never = never
        self._today = MonotonicDate(clock)
        self._audited: dict[str, PolicyEntry] = {}
        self._asked: dict[str, PolicyEntry] = {}
        self._renew()
        self._problems: dict[str, str] = {}
        self._warnings = LogOnce()
        self._callable = CallableSource(source, self._today, self._audit_result) if callable(source) else None
        self._file = None if path is None else _file(path, self._reread, clock)
        self._policy = _UNSET
        self._given = _UNSET if callable(source) else self._parsed(source)
        self._table: dict[str, Grant] = {}
        self._fallback = self._nothing = NOTHING
        self._readable = False
        if self._file is not None and not never:
            self._file.read()
        self._rebuild()
        fork.register(self)

    @property
    def problems(self) -> tuple[str, ...]:
        """The current problems, one line each."""
        found = [*self._problems.values()]
        if self._file is not None and self._file.problem:
            found.append(self._file.problem)
        if self._callable is not None and self._callable.problem:
            found.append(self._callable.problem)
        return tuple(found)

    def resolve(self, tenant: str | None) -> Grant:
        """The current grant of `tenant`. Never raises; without a tenant, nothing is granted."""
        if clock.monotonic() >= self._due:
            self._refresh()
        if type(tenant) is not str:  # None; a subclass could equal any tenant
            return self._nothing
        grant = self._table.get(tenant)
        if grant is not None:
            return grant
        if tenant == semconv.UNKNOWN_TENANT or self._never:
            return self._nothing
        if self._callable is not None and self._readable:
            entry = self._callable.entry(tenant)
            if entry is not None:
                return entry.grant(self._policy.categories, self._policy.terms)
        return self._fallback

    def close(self) -> None:
        """Stop the threads."""
        if self._file is not None:
            self._file.close()
        if self._callable is not None:
            self._callable.close()

    # -- fork ---------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Do nothing: waiting for the lock would block the program."""

    def after_fork_in_parent(self) -> None:
        """Do nothing."""

    def after_fork_in_child(self) -> None:
        """Reset: the thread holding the lock is not in this process, and the table may be half built."""
        self._renew()

    def _renew(self) -> None:
        # Reentrant: a signal handler that starts a span may run while its thread holds the lock.
        self._lock = threading.RLock()
        self._due = 0.0
        #: When the table changes next.
        self._ends = AT_ONCE

    # -- the table ---------------------------------------------------------------------------------------

    def _parsed(self, source: ContentPolicy | Mapping[str, Any] | None) -> ContentPolicy | None:
        if source is None or isinstance(source, ContentPolicy):
            return source or _UNSET
        try:
            return ContentPolicy.parse(source, now=self._today())
        except PolicyError as error:
            self._report_problem("content_policy", f"nothing is granted: {str(error).splitlines()[0]}")
        except Exception as error:
            self._report_problem("content_policy", f"nothing is granted: {type(error).__name__}")
        return None

    def _refresh(self) -> None:
        lock = self._lock  # replaced if this thread forks meanwhile, for example in an audit log handler
        if not lock.acquire(blocking=False):
            return  # another thread is refreshing; use the current table
        try:
            self._due = clock.monotonic() + INTERVAL
            if self._file is not None and not self._never:
                self._file.look()
            if self._today() >= self._ends:
                self._rebuild()
        except Exception as error:
            self._grant_nothing(error)
        finally:
            lock.release()

    def _reread(self) -> None:
        """Apply a newly read policy as of now, whatever date the clock showed before."""
        with self._lock:
            self._today.reset()
            self._rebuild()

    def _rebuild(self) -> None:
        try:
            self._build()
        except Exception as error:
            self._grant_nothing(error)

    def _grant_nothing(self, error: Exception) -> None:
        """Grant nothing until the table can be built, which is retried after a second."""
        self._table, self._readable, self._ends = {}, False, AT_ONCE
        self._fallback = self._nothing = NOTHING
        log.debug("content policy: %s", type(error).__name__)

    def _build(self) -> None:
        """Build the table of current grants, and report changes to the audit log."""
        policy = self._effective()
        self._readable = policy is not None
        self._policy = policy or _UNSET
        self._nothing = self._policy.nothing()
        if policy is None or self._never:
            self._table, self._fallback, self._ends = {}, self._nothing, NEVER
            self._report({})
            return
        now = self._today()
        default = stricter(self._default, policy.default) or "none"
        active = {tenant: entry for tenant, entry in policy.tenants.items() if entry.active(now)}
        self._table = {tenant: policy.grant(tenant, now=now) for tenant in active}
        self._fallback = ContentPolicy(default, {}, policy.categories, policy.terms).fallback()
        self._ends = min((entry.until for entry in active.values() if entry.until), default=NEVER)
        self._report({tenant: entry for tenant, entry in active.items() if entry.content != "none"})

    def _effective(self) -> ContentPolicy | None:
        """The policy in force; None if the configured one cannot be read."""
        given = self._given
        if self._file is None or given is None:
            return given
        read = self._file.policy
        if read is None:
            return None
        return ContentPolicy(
            stricter(read.default, given.default),
            {**given.tenants, **read.tenants},
            read.categories if given is _UNSET else read.categories | given.categories,
            (*given.terms, *read.terms),
        )

    def _audit_result(self, tenant: str, entry: PolicyEntry | None) -> None:
        """Audit a grant from the callable like any other grant."""
        with self._lock:
            before = self._asked.pop(tenant, None)
            if entry is not None and entry.content != "none":
                if len(self._asked) >= MAX_ASKED:
                    self._asked.clear()
                self._asked[tenant] = entry
            self._compare(tenant, before, self._asked.get(tenant))

    def _report(self, granted: dict[str, PolicyEntry]) -> None:
        before, self._audited = self._audited, granted
        for tenant in {**before, **granted}:
            self._compare(tenant, before.get(tenant), granted.get(tenant))

    def _compare(self, tenant: str, before: PolicyEntry | None, after: PolicyEntry | None) -> None:
        if after is not None and before != after:
            _audit("granted" if before is None else "changed", tenant, after)
        elif before is not None and after is None:
            _audit("revoked" if before.active(self._today()) else "expired", tenant, before)

    def _report_problem(self, what: str, message: str) -> None:
        line = self._problems[what] = f"{what}: {message}"
        self._warnings.warning(line, "%s", line)


class MonotonicDate:
    """The current date and time, which never goes back and never stops.

    Setting the clock back does not extend a grant or revive an ended one until `reset`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Trust the clock again."""
        self._latest = self._clock(), clock.monotonic()

    def __call__(self) -> dt.datetime:
        then, ticks = self._latest
        ticked = clock.monotonic()
        now = max(self._clock(), then + dt.timedelta(seconds=ticked - ticks))
        self._latest = now, ticked  # one value, because several threads call this
        return now


def _file(path: Path, changed: Callable[[], None], clock: Clock) -> PolicyFile:
    from somatrace.guard.policy.file_source import (
        PolicyFile,  # its parsers are loaded only if there is a file
    )

    return PolicyFile(path, changed, clock)


def _audit(what: str, tenant: str, entry: PolicyEntry) -> None:
    """Log one event with its fields, all from the policy; no span data."""
    until = entry.until.isoformat() if entry.until else ""
    audit.info(
        "content %s: tenant %s, %s, until %s, %s",
        what,
        tenant,
        entry.content,
        until or "changed",
        entry.reason or "no reason given",
        extra={
            "somatrace_event": f"content.{what}",
            "tenant_id": tenant,
            "content": entry.content,
            "until": until,
            "reason": entry.reason,
        },
    )
