"""A bounded queue with one lazily started thread behind it, correct across fork.

The road's worker, the foreign processors and `queued` listeners each run on a lane, so that none of
them can slow the program or one another. The thread starts with the first item, is gone while the
process forks (a live thread makes Python 3.12+ warn in the host's `os.fork`, and a lock it holds
would be held forever in the child) and is started again where there is work.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger("somatrace")

#: How long fork waits for the thread: first in peace, then after its I/O was interrupted.
FORK_GRACE: Final = 0.05
FORK_LIMIT: Final = 0.5


class Lane(Generic[T]):
    """Items go in on any thread and come out, in order and in batches, on one thread of the lane's own.

    `step` is called with up to `batch` items, and with none when the time it asked for has come: it
    returns the seconds after which it wants to be called again without items, or None. What it raises
    is logged once per lane and never leaves it. `drained` says whether work remains behind `step`
    (an outbox, say); `interrupt` must make a blocked `step` return soon; `forget` is called in a
    forked child, where everything queued belongs to the parent.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[Sequence[T]], float | None],
        *,
        size: int,
        weight: int = 1 << 62,
        batch: int = 512,
        linger: float = 0.0,
        drained: Callable[[], bool] = lambda: True,
        interrupt: Callable[[], None] = lambda: None,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._step = step
        self._size = size
        self._weight_limit = weight
        self._batch = batch
        self._linger = linger
        self._drained = drained
        self._interrupt = interrupt
        self._forget = forget
        self._complained = False
        self._reset()
        _lanes.add(self)

    def _reset(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._closed = False
        self._busy = False
        self._hurry = 0
        self._wake_at: float | None = None
        self.deadline: float | None = None  # monotonic; set while closing, for those who block in `step`

    # -- any thread -------------------------------------------------------------------------------

    def put(self, item: T, weight: int = 1) -> bool:
        """Queue `item`; False if the lane is full (by items or by weight) or closed. Never blocks on I/O."""
        with self._changed:
            if self._closed or len(self._items) >= self._size or self._weight + weight > self._weight_limit:
                return False
            self._items.append((item, weight))
            self._weight += weight
            if self._thread is None:
                self._start()
            elif len(self._items) == 1 or len(self._items) >= self._batch:
                self._changed.notify_all()
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is through `step` and drained; False when `timeout` is over."""
        until = time.monotonic() + timeout
        with self._changed:
            if self._thread is None and not self._idle():
                self._start()
            self._hurry += 1
            self._wake_at = 0.0
            self._changed.notify_all()
            try:
                while not self._idle():
                    remaining = until - time.monotonic()
                    if remaining <= 0 or threading.current_thread() is self._thread:
                        return False
                    self._changed.wait(min(remaining, 0.1))
                return True
            finally:
                self._hurry -= 1

    def close(self, timeout: float) -> bool:
        """Flush, then end the thread. Whatever blocks is interrupted at the deadline; the rest is lost."""
        self.deadline = time.monotonic() + timeout
        flushed = self.flush(timeout)
        with self._changed:
            self._closed = True
            inline = self._thread is None and bool(self._items)
        if inline:  # no thread can start while the interpreter shuts down
            self._run_step(self._take())
            flushed = not self._items and self._drained()
        self._end_thread(0.0, min(0.1, timeout))
        return flushed

    @property
    def depth(self) -> tuple[int, int]:
        """Items and weight queued now."""
        return len(self._items), self._weight

    @property
    def hurried(self) -> bool:
        """Somebody waits in `flush` or `close`."""
        return self._hurry > 0

    def nudge(self) -> None:
        """Have `step` called soon even without items."""
        with self._changed:
            self._wake_at = 0.0
            if self._thread is None and not self._closed:
                self._start()
            self._changed.notify_all()

    def _idle(self) -> bool:
        return not self._items and not self._busy and self._drained()

    def _start(self) -> None:
        if self._stopping:  # a fork is under way: `_after_fork_in_parent` starts it
            return
        thread = threading.Thread(target=self._loop, name=f"somatrace-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down: `close` runs inline
            return
        self._thread = thread

    # -- the lane's thread --------------------------------------------------------------------------

    def _loop(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                if self._thread is not me and self._thread is not None:
                    return
                if not self._await_work():
                    self._thread = None
                    return
                items = self._take()
                self._busy = True
            wait = self._run_step(items)
            with self._changed:
                self._busy = False
                self._wake_at = None if wait is None else time.monotonic() + wait
                self._changed.notify_all()

    def _await_work(self) -> bool:
        """Wait, with the lock held, for a batch worth taking; False when the thread should end."""
        gathering: float | None = None
        while not self._stopping and not self._closed:
            now = time.monotonic()
            due = self._wake_at is not None and self._wake_at <= now
            if due or (self._items and (self._hurry or len(self._items) >= self._batch)):
                return True
            if self._items:
                gathering = gathering or now + self._linger
                if gathering <= now:
                    return True
            until = [moment for moment in (gathering, self._wake_at) if moment is not None]
            self._changed.wait(min(until) - now if until else None)
        return False

    def _take(self) -> list[T]:
        taken: list[T] = []
        while self._items and len(taken) < self._batch:
            item, weight = self._items.popleft()
            self._weight -= weight
            taken.append(item)
        return taken

    def _run_step(self, items: Sequence[T]) -> float | None:
        try:
            return self._step(items)
        except Exception as error:  # the lane must live: what it serves is secondary to the program
            if not self._complained:
                self._complained = True
                log.warning(
                    "%s: %s in the tracing worker; the program is not affected",
                    self._name,
                    type(error).__name__,
                )
            return 1.0

    # -- fork -----------------------------------------------------------------------------------------

    def _end_thread(self, grace: float, limit: float) -> None:
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        with self._changed:
            self._changed.notify_all()
        if grace:
            thread.join(grace)
        if thread.is_alive():
            try:
                self._interrupt()
            except Exception:
                log.debug("%s: interrupt failed", self._name)
            thread.join(limit)
        _await_os_thread(thread)

    def _before_fork(self) -> None:
        self._stopping = True
        self._end_thread(FORK_GRACE, FORK_LIMIT)

    def _after_fork_in_parent(self) -> None:
        with self._changed:
            self._stopping = False
            if self._thread is not None and not self._thread.is_alive():
                self._thread = None
            if self._thread is None and not self._closed and not self._idle():
                self._wake_at = 0.0
                self._start()

    def _after_fork_in_child(self) -> None:
        closed = self._closed
        self._reset()
        self._closed = closed
        self._forget()


def _await_os_thread(thread: threading.Thread) -> None:
    """`join` returns a moment before the kernel's thread is gone, and Python counts the kernel's."""
    task = Path(f"/proc/self/task/{thread.native_id}")
    for _ in range(50):
        if thread.is_alive() or not task.exists():
            return
        time.sleep(0.0002)


_lanes: weakref.WeakSet[Lane[Any]] = weakref.WeakSet()


def _each(method: str) -> Callable[[], None]:
    def run() -> None:
        for lane in list(_lanes):
            try:
                getattr(lane, method)()
            except Exception:
                log.debug("lane: %s failed", method)

    return run


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each("_before_fork"),
        after_in_parent=_each("_after_fork_in_parent"),
        after_in_child=_each("_after_fork_in_child"),
    )
