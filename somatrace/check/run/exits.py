"""Interpret calls that end the process: `sys.exit`, `os._exit`, `os.execv`."""

from __future__ import annotations

from somatrace.check.run.machine import Machine, PathEnded
from somatrace.check.run.values import Arguments, Const

#: They raise SystemExit, which handlers and `finally` see.
_RAISE = frozenset(["sys.exit", "exit", "quit"])
_AT_ONCE = frozenset([
    "os._exit", "os.execl", "os.execle", "os.execlp", "os.execlpe", "os.execv", "os.execve", "os.execvp",
    "os.execvpe",
])  # fmt: skip


def is_exit(path: str) -> bool:
    """Whether a call to that path ends the process."""
    return path in _RAISE or path in _AT_ONCE or path == "os.abort"


def exit_process(machine: Machine, path: str, arguments: Arguments) -> None:
    """End the process as that call does. Raises PathEnded."""
    if path in _RAISE:
        leave(machine, arguments)
    else:
        machine.end("failure" if path == "os.abort" or (path == "os._exit" and _fails(arguments)) else "exit")
    raise PathEnded


def leave(machine: Machine, arguments: Arguments, *, fails: bool = False) -> None:
    """Record SystemExit with these arguments: at the handler that catches it, or as the process's end."""
    for guard in reversed(machine.guards):
        if guard.exits:
            guard.raised.append(machine.store.since(guard.depth))
            return
    machine.end("failure" if fails or _fails(arguments) else "exit")


def _fails(arguments: Arguments) -> bool:
    """Whether the exit status is known to report a failure."""
    status = arguments.positional[0] if arguments.positional else Const(None)
    return isinstance(status, Const) and status.value not in (None, 0)
