"""Fork hooks for background workers, and checks on the state of a thread before a fork."""

from __future__ import annotations

import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from somatrace.runtime.clock import clock

log = logging.getLogger("somatrace")

#: Seconds for the kernel to end a thread that Python has joined. It takes a fraction of a millisecond, and
#: on a machine with more work than processors until the thread has its next turn.
_KERNEL_LIMIT: Final = 0.25


class ForkAware(Protocol):
    """An object that is notified of every fork."""

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


_registered: Final[weakref.WeakSet[ForkAware]] = weakref.WeakSet()
_hooked: Final = threading.Event()


def register(one: ForkAware) -> None:
    """Notify `one` of every fork as long as it lives. Before a fork it is called ahead of hooks registered
    with Python earlier, because a worker's thread may be using their resources."""
    _registered.add(one)
    if not _hooked.is_set() and hasattr(os, "register_at_fork"):
        _hooked.set()
        os.register_at_fork(
            before=_each(lambda one: one.before_fork()),
            after_in_parent=_each(lambda one: one.after_fork_in_parent()),
            after_in_child=_each(lambda one: one.after_fork_in_child()),
        )


def imports(thread: threading.Thread) -> bool:
    """Whether `thread` is importing a module."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def join(thread: threading.Thread, timeout: float) -> None:
    """Wait up to `timeout` seconds for the end of `thread`, which another thread may still be starting."""
    until = clock.monotonic() + timeout
    while True:
        try:
            return thread.join(max(0.0, until - clock.monotonic()))
        except RuntimeError:  # not started yet
            if clock.monotonic() >= until:
                return None
            clock.sleep(0.001)


def await_kernel(thread: threading.Thread) -> None:
    """Wait for the kernel thread to exit, slightly after `join` returns: Python counts kernel threads."""
    task = Path(f"/proc/self/task/{thread.native_id}")
    until = clock.monotonic() + _KERNEL_LIMIT
    while not thread.is_alive() and task.exists() and clock.monotonic() < until:
        clock.sleep(0.0002)


def _each(notify: Callable[[ForkAware], None]) -> Callable[[], None]:
    def run() -> None:
        for one in list(_registered):
            try:
                notify(one)
            except Exception as error:
                log.debug("fork: %s", type(error).__name__)

    return run
