"""A bounded queue served by one lazily started background thread, safe across fork.

The pipeline and the third-party processors each have a worker of their own, so that neither can slow
down the program or the other. The thread starts with the first item, ends while the process forks (a
live thread makes Python 3.12+ warn in the host's `os.fork`, and a lock it holds would stay locked in the
child) and is started again if there is work.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from somatrace.runtime import fork
from somatrace.runtime.clock import clock
from somatrace.runtime.log_once import LogOnce

T = TypeVar("T")
log = logging.getLogger("somatrace")

#: Seconds that fork waits for the thread: to finish, after its I/O was interrupted, and during an import
#: (a child that inherits a half-imported module could never import it).
FORK_GRACE: Final = 0.25
FORK_LIMIT: Final = 0.5
IMPORT_LIMIT: Final = 3.0


class BackgroundWorker(Generic[T]):
    """Takes items from any thread and processes them, in order and in batches, on its own thread.

    `step` is called with up to `batch` items. It returns the seconds after which it is to be called again
    without items, or None. Its exceptions are logged once per worker and do not end the thread. `drained`
    tells whether all work behind `step` (in an outbox, for example) is done; `interrupt` makes a blocked
    `step` return soon (None: it cannot be interrupted); `release` is called on the worker's thread before
    it ends, to close resources that must not cross a fork; `forget` is called in a forked child, where
    everything queued belongs to the parent. `beside` is called before the thread starts.
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
        interrupt: Callable[[], None] | None = None,
        release: Callable[[], None] = lambda: None,
        forget: Callable[[], None] = lambda: None,
        beside: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._step = step
        self._size = size
        self._weight_limit = weight
        self._batch = batch
        self._linger = linger
        self._drained = drained
        self._interrupt = interrupt
        self._release = release
        self._forget = forget
        self._beside = beside
        self._warnings = LogOnce()
        self._reset()
        fork.register(self)

    def _reset(self) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._weight = 0
        # Reentrant: a signal handler or finalizer may end a span in the middle of `put`.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._forks = 0
        self._closed = False
        self._accepted = self._taken = self._settled = 0  # items put, passed to `step`, and drained so far
        self._waiting = 0  # callers in `flush`
        self._flush_pending = False
        self._wake_at: float | None = None
        #: Whether the running step is the first one since a call of `flush`.
        self.urgent = False
        #: Monotonic time by which `step` must return; set while closing.
        self.deadline: float | None = None

    # -- any thread -------------------------------------------------------------------------------

    def put(self, item: T, weight: int = 1) -> bool:
        """Queue `item`; False if the queue is full (by items or weight) or closed. Never blocks on I/O."""
        with self._lock:  # of the condition, whose own methods are written in Python
            count = len(self._items)
            if self._closed or count >= self._size or self._weight + weight > self._weight_limit:
                return False
            self._items.append((item, weight))
            self._weight += weight
            self._accepted += 1
            if not count or count + 1 == self._batch:
                self._changed.notify_all()
        if self._thread is None:
            self._ensure_thread()
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is processed and drained; False on timeout."""
        until = clock.monotonic() + timeout
        with self._changed:
            ticket = self._accepted
            if self._settled >= ticket:
                return True
            self._waiting += 1
        try:
            self.hurry()
            return self._wait_for(ticket, until)
        finally:
            with self._changed:
                self._waiting -= 1

    def hurry(self) -> bool:
        """Take the queued items now instead of gathering a batch; False if there can be no thread for it."""
        with self._changed:
            self._flush_pending = True
            self._changed.notify_all()
        return self._ensure_thread()

    def start(self) -> bool:
        """Have a thread before there is work: Python 3.12 starts none once the interpreter shuts down."""
        return self._ensure_thread()

    def close(self, timeout: float) -> bool:
        """Flush, then end the thread. A blocked step is interrupted at the deadline; items left are lost.

        Those that other threads put meanwhile are processed on this one as far as time allows.
        """
        if self._closed:
            return self._idle()
        self.deadline = clock.monotonic() + timeout
        flushed = self.flush(timeout)
        inline = self._thread is None
        if inline and not flushed:  # no thread can start while the interpreter shuts down
            while self._items and clock.monotonic() < self.deadline:
                self._run_step(self._take())
            flushed = self._idle()
        self._closed = True
        if inline:
            self._run("release", self._release)
        self._end_thread(FORK_GRACE if flushed else 0.0, 0.1)
        while self._items and self._thread is None and clock.monotonic() < self.deadline:
            self._run_step(self._take())
        with self._changed:
            self._items.clear()
            self._weight = 0
        return flushed

    @property
    def depth(self) -> tuple[int, int]:
        """Queued items and their weight."""
        return len(self._items), self._weight

    @property
    def closed(self) -> bool:
        """Whether the worker no longer accepts items."""
        return self._closed

    @property
    def stopping(self) -> bool:
        """Whether the thread should end soon, for a fork or for good: a long `step` should stop early."""
        return self._closed or self._forks > 0

    def _idle(self) -> bool:
        return self._settled == self._accepted

    def _wait_for(self, ticket: int, until: float) -> bool:
        """Wait until the first `ticket` items are settled; False if that does not happen by `until`."""
        with self._changed:
            while self._settled < ticket:
                remaining = until - clock.monotonic()
                no_thread = self._closed or (self._thread is None and not self._forks)
                if remaining <= 0 or no_thread or threading.current_thread() is self._thread:
                    return False
                self._changed.wait(min(remaining, 0.1))
            return True

    def _ensure_thread(self) -> bool:
        """Start the thread if there is none; False if there can be none now.

        The lock is free meanwhile: starting a thread waits for it, and a finalizer that the garbage
        collector runs in the new thread may call `put`. A caller that interrupted a holder of the lock
        starts nothing: that holder does when it lets go.
        """
        if self._holds_lock():
            return self._thread is not None
        with self._changed:
            if self._thread is not None:
                return True
            if self._forks:  # `after_fork_in_parent` starts it
                return False
            thread = threading.Thread(target=self._loop, name=f"somatrace-{self._name}", daemon=True)
            self._thread = thread
        self._run("beside", self._beside)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down: `close` runs inline
            with self._changed:
                if self._thread is thread:
                    self._thread = None
            return False
        return True

    def _holds_lock(self) -> bool:
        """Whether this thread holds the lock: a finalizer or a signal handler interrupted its holder."""
        try:
            self._changed.notify(0)  # notifies nobody; refused to a thread that does not hold the lock
        except RuntimeError:
            return False
        return True

    # -- the worker's thread ------------------------------------------------------------------------

    def _loop(self) -> None:
        me = threading.current_thread()
        try:
            self._work(me)
        finally:  # also if a step ended the thread, with SystemExit for example: the next thread goes on
            if self._thread is me:
                self._run("release", self._release)
            with self._changed:
                if self._thread is me:
                    self._thread = None
                unfinished = self._thread is None and not self._closed and not self._idle()
            if unfinished:
                self._ensure_thread()

    def _work(self, me: threading.Thread) -> None:
        while True:
            with self._changed:
                if self._thread is not me or not self._await_work():
                    return
                items = self._take()
                self.urgent, self._flush_pending = self._flush_pending, False
            wait = self._run_step(items)
            with self._changed:
                self._wake_at = None if wait is None else clock.monotonic() + wait
                self._changed.notify_all()

    def _await_work(self) -> bool:
        """Wait, with the lock held, until a batch is due; False if the thread should end."""
        gathering: float | None = None
        while not self.stopping:
            now = clock.monotonic()
            due = self._flush_pending or (self._wake_at is not None and self._wake_at <= now)
            if due or (self._items and (self._waiting or len(self._items) >= self._batch)):
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
        self._taken += len(taken)
        return taken

    def _run_step(self, items: Sequence[T]) -> float | None:
        try:
            wait = self._step(items)
        except Exception as error:  # the worker must survive, and the program must not be affected
            wait = 1.0
            message = "%s: %s in the tracing worker; the program is not affected"
            with contextlib.suppress(Exception):  # so may a handler, or a clock that the program replaced
                self._warnings.warning("step", message, self._name, type(error).__name__)
        if self._drained():
            self._settled = self._taken
        return wait

    def _run(self, purpose: str, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:
            log.debug("%s: %s in %s", self._name, type(error).__name__, purpose)

    # -- fork -----------------------------------------------------------------------------------------

    def _end_thread(self, grace: float, limit: float) -> None:
        """End the thread: wait `grace` seconds, then interrupt it and wait up to `limit` seconds more."""
        with self._changed:
            thread = self._thread
            self._changed.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        fork.join(thread, grace)
        if thread.is_alive() and self._interrupt is not None:
            self._run("interrupt", self._interrupt)
            thread.join(limit)
        fork.await_kernel(thread)

    def before_fork(self) -> None:
        with self._changed:
            self._forks += 1
            thread = self._thread
        self._end_thread(FORK_GRACE, FORK_LIMIT)
        until = clock.monotonic() + IMPORT_LIMIT
        while thread is not None and fork.imports(thread) and clock.monotonic() < until:
            fork.join(thread, 0.01)

    def after_fork_in_parent(self) -> None:
        with self._changed:
            self._forks -= 1
            unfinished = self._thread is None and not self._closed and not self._idle()
            if unfinished:
                self._wake_at = 0.0
        if unfinished:
            self._ensure_thread()

    def after_fork_in_child(self) -> None:
        closed = self._closed
        self._reset()
        self._closed = closed
        self._forget()
