"""Import the sending modules once, on the thread that sends, and let others wait for it with a limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("somatrace")


class SendingModules:
    """The modules that `load` imports. An import may hang, so that no other thread waits without a limit."""

    def __init__(self, load: Callable[[], None]) -> None:
        self._load = load
        self._loaded = threading.Event()

    def load(self) -> None:
        """Import them unless they are loaded. Never raises: where they are used, the error appears again."""
        if self._loaded.is_set():
            return
        try:
            self._load()
        except Exception as error:
            log.debug("loading the sending modules failed: %s", type(error).__name__)
        self._loaded.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for another thread to load them; return whether it has."""
        return self._loaded.wait(timeout)

    def forget(self) -> None:
        """Reset in a forked child: another thread may have held the event's lock."""
        self._loaded = threading.Event()
