"""What lanes do around a fork of the process, and what they must know of a thread then."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

log = logging.getLogger("somatrace")


class ForkAware(Protocol):
    """What is told of every fork."""

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...


_registered: Final[weakref.WeakSet[ForkAware]] = weakref.WeakSet()
_hooked: Final = threading.Event()


def register(one: ForkAware) -> None:
    """Tell `one` of every fork, as long as it lives: before the fork ahead of those who registered with
    Python earlier, because a lane's thread may be using them."""
    _registered.add(one)
    if not _hooked.is_set() and hasattr(os, "register_at_fork"):
        _hooked.set()
        os.register_at_fork(
            before=_each(lambda one: one.before_fork()),
            after_in_parent=_each(lambda one: one.after_fork_in_parent()),
            after_in_child=_each(lambda one: one.after_fork_in_child()),
        )


def imports(thread: threading.Thread) -> bool:
    """Whether `thread` is in the middle of an import."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def await_kernel(thread: threading.Thread) -> None:
    """`join` returns a moment before the kernel's thread is gone, and Python counts the kernel's."""
    task = Path(f"/proc/self/task/{thread.native_id}")
    for _ in range(50):
        if thread.is_alive() or not task.exists():
            return
        time.sleep(0.0002)


def _each(tell: Callable[[ForkAware], None]) -> Callable[[], None]:
    def run() -> None:
        for one in list(_registered):
            try:
                tell(one)
            except Exception as error:
                log.debug("fork: %s", type(error).__name__)

    return run
