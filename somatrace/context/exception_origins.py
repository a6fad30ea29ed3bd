"""The tenant whose work an exception comes from, remembered outside of the exception.

The text of an exception may leave only on spans of the tenant whose work raised it. An exception gets its
origin when it leaves a block or is recorded on a span, and so does every exception that it leads to: causes,
contexts, members of groups, and exceptions among its arguments and attributes. One that has passed through
the work of several tenants belongs to none of them.

Nothing is written to the exception, and neither it nor its frames are kept alive.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from somatrace.context.exception_identity import ExceptionIdentity, dict_of
from somatrace.context.failure_place import cause_of, context_of, members_of
from somatrace.context.tags import current
from somatrace.runtime import fork
from somatrace.runtime.fail_safe import fail_safe

#: The dead origins that are kept at least before they are removed.
_MIN_SWEPT: Final = 256
# Read through the base class's descriptor: a subclass can override the attribute.
_args_of: Final = BaseException.__dict__["args"].__get__


class Origin(ExceptionIdentity):
    """The tenant of one exception: `tenant`, unless it is `mixed`."""

    __slots__ = ("mixed", "tenant")

    def __init__(self, error: BaseException, tenant: str | None) -> None:
        super().__init__(error)
        self.tenant = tenant
        self.mixed = False

    def is_from(self, tenant: str | None) -> bool:
        """Whether the exception comes from the work of `tenant` alone."""
        return not self.mixed and self.tenant == tenant


class ExceptionOrigins:
    """The origins of all exceptions that are alive and have one."""

    def __init__(self) -> None:
        self._origins: dict[int, Origin] = {}
        self._sweep_at = _MIN_SWEPT
        self._registered = False
        self.after_fork_in_child()

    def note(self, error: BaseException, tenant: str | None) -> None:
        """Note that `error` leaves work of `tenant`. The exceptions it leads to get this origin if they have
        none."""
        known = self.of(error)
        if known is not None and not known.is_from(tenant):
            known.mixed = True
        self.note_new(error, tenant)

    def note_new(self, error: BaseException, tenant: str | None) -> None:
        """Give the origin `tenant` to `error` and the exceptions it leads to, where they have none."""
        for one in _with_related(error):
            if self.of(one) is None:
                self._add(one, tenant)

    def is_foreign(self, error: BaseException, tenant: str | None, assumed: str | None) -> bool:
        """Whether `error` leads to an exception not of `tenant`. One without an origin is of `assumed`."""
        for one in _with_related(error):
            known = self.of(one)
            if not known.is_from(tenant) if known is not None else assumed != tenant:
                return True
        return False

    def of(self, error: BaseException) -> Origin | None:
        """The origin of an exception, if it has one."""
        known = self._origins.get(id(error))
        return known if known is not None and known.is_of(error) else None

    def _add(self, error: BaseException, tenant: str | None) -> None:
        with self._lock:
            if not self._registered:
                self._registered = True
                fork.register(self)
            if len(self._origins) >= self._sweep_at:
                self._sweep()
            self._origins[id(error)] = Origin(error, tenant)

    def _sweep(self) -> None:
        """Remove the origins of exceptions that are gone. Then there are as many as exceptions alive."""
        gone = ExceptionIdentity(ValueError())
        # a list of the items would allocate: a finalizer that runs meanwhile may add one
        for key, origin in self._origins.copy().items():
            if origin.is_gone(gone):
                self._origins.pop(key, None)
        self._sweep_at = max(_MIN_SWEPT, 2 * len(self._origins))

    # -- fork -----------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Do nothing: waiting for the lock would block the program."""

    def after_fork_in_parent(self) -> None:
        """Do nothing."""

    def after_fork_in_child(self) -> None:
        """Make a new lock: the thread that holds the old one is not in this process."""
        self._lock = threading.RLock()  # reentrant: a signal handler may raise and catch, too


def _with_related(error: BaseException) -> Iterator[BaseException]:
    """`error` and every exception that its traceback or message can show, suppressed ones as well."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.extend(other for other in (cause_of(one), context_of(one)) if other is not None)
        if issubclass(type(one), BaseExceptionGroup):
            waiting.extend(members_of(one))
        for value in (*_args_of(one), *list(dict_of(one).values())):
            items = value if type(value) is tuple or type(value) is list else (value,)
            waiting.extend(item for item in items if issubclass(type(item), BaseException))


origins: Final = ExceptionOrigins()


def note_thrown(error: BaseException) -> None:
    """Note that `error` comes from work of the bound tenant, unless it has an origin."""
    tags = current.get()
    if tags.names_tenant:
        with fail_safe("exception"):
            origins.note_new(error, tags.tenant)
