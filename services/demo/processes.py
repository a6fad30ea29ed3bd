"""Start child processes with a log file each, wait for them, and always terminate them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_LIMIT = 180.0
STOP_LIMIT = 5.0
LAST_LINES = 15


class StartError(RuntimeError):
    """A process failed to start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {self.name}: {line}" for line in lines)


class Interrupted(SystemExit):
    """A signal ended the demo; the exit code is 128 plus the signal's number."""


class Processes:
    """A context manager that terminates its children on exit, in reverse order of their start.

    Inside it SIGINT, SIGTERM and SIGHUP raise `Interrupted`, but never while a child is being started or
    stopped, since a forked child that is not registered yet would stay behind. Use it in the main thread.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.children: dict[str, Child] = {}
        self._handlers: dict[signal.Signals, Any] = {}
        self._deferring = False
        self._received = 0

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._handlers = {number: signal.signal(number, self._interrupt) for number in ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deferring = True
        for child in reversed(self.children.values()):
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT
        for child in reversed(self.children.values()):
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.process.wait()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None
    ) -> Child:
        log = self._logs / f"{name}.log"
        with log.open("wb") as output, self._defer_signals():
            # a separate session: Ctrl-C reaches only the demo, which then stops its children in order
            process = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            child = Child(name, process, log)
            self.children[name] = child
        return child

    def _interrupt(self, number: int, _: object) -> None:
        self._received = number
        if not self._deferring:
            raise Interrupted(128 + number)

    @contextmanager
    def _defer_signals(self) -> Iterator[None]:
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self._received:
            raise Interrupted(128 + self._received)


def wait_for_file(child: Child, path: Path) -> str:
    """Wait until `child` is ready and return the content it wrote to `path`; raises `StartError`."""
    _wait(child, path.exists)
    return path.read_text(encoding="utf-8")


def wait_for_port(child: Child, port: int) -> None:
    """Wait until `child` accepts connections on loopback `port`; raises `StartError`."""
    _wait(child, lambda: _listens(port))


@contextmanager
def held_ports(number: int) -> Iterator[list[int]]:
    """Unused loopback ports for children to listen on. Within the block no other program is given one."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            # Linux lets a server listen on a port that others have bound in this way, as servers do
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        ports = [int(each.getsockname()[1]) for each in sockets]
        if sys.platform != "linux":
            held.close()
        yield ports


def _wait(child: Child, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not ready():
        code = child.process.poll()
        if code is not None:
            raise StartError(f"{child.name} exited with code {code}\n{child.last_lines()}")
        if time.monotonic() > deadline:
            raise StartError(f"{child.name} did not start within {START_LIMIT:.0f} s\n{child.last_lines()}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child's process group, which includes its own children."""
    if child.process.poll() is None:
        os.killpg(child.process.pid, number)
