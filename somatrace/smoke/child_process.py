"""Start the child process and its model server, and collect their results."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from somatrace.smoke.child import SENT, TraceOrder
from somatrace.smoke.outcomes import EndedError

CHILD: Final = (sys.executable, "-m", "somatrace.smoke.child")
_SERVER: Final = (sys.executable, "-m", "somatrace.modelserver", "--port", "0")
_SERVER_NEEDS: Final = ("starlette", "uvicorn")
_PAUSE: Final = 0.01
#: Seconds reserved for the child process to write its result.
_RESERVE: Final = 0.5
_ERROR_NAME: Final = re.compile(r"^([A-Za-z_][\w.]{0,99})(?::|$)")


class Deadline:
    """The end of the whole run, in monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Remaining seconds, never below zero."""
        return max(0.0, self._until - time.monotonic())


@dataclass(frozen=True)
class SentTrace:
    """The child process's result and the bytes it sent."""

    result: Mapping[str, Any]
    sent: bytes


def has_model_server() -> bool:
    """Whether the bundled model server can run."""
    return all(importlib.util.find_spec(module) is not None for module in _SERVER_NEEDS)


@contextlib.contextmanager
def model_server(api_key: str, deadline: Deadline) -> Iterator[str]:
    """Run the bundled model server, which requires `api_key`, and yield its base URL."""
    with _directory() as directory:
        ready, key = directory / "ready", directory / "key"
        key.write_text(api_key)
        command = [*_SERVER, "--ready-file", str(ready), "--api-key-file", str(key)]
        with _running(command, directory) as process:
            if not _wait(process, ready, deadline):
                raise EndedError(
                    "model", what="the bundled model server did not start" + _exception_of(process, directory)
                )
            yield ready.read_text().strip() + "/v1"


def make_trace(order: TraceOrder, deadline: Deadline, command: Sequence[str] = CHILD) -> SentTrace:
    """Create the trace in the child process; raises `EndedError`."""
    with _directory() as directory:
        order = {**order, "directory": str(directory), "until": time.monotonic() + deadline.left - _RESERVE}
        result = directory / "result.json"
        with _running(command, directory, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            with contextlib.suppress(OSError):  # it exited before reading; reported below
                process.stdin.write(json.dumps(order).encode())
                process.stdin.close()
            if not _wait(process, result, deadline):
                if process.poll() is None:
                    what = f"the child process did not finish within {deadline.seconds:.3g} s"
                else:
                    what = f"the child process exited with code {process.returncode}"
                    what += _exception_of(process, directory)
                raise EndedError("broken", what=what)
            exports = (file.read_bytes() for file in sorted(directory.glob(f"*{SENT}")))
            # concatenated protobuf messages parse as one
            return SentTrace(json.loads(result.read_text()), b"".join(exports))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A temporary directory that only this user can access."""
    with tempfile.TemporaryDirectory(prefix="somatrace-smoke-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _running(
    command: Sequence[str], directory: Path, stdin: int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block. It inherits the whole environment, as a service does."""
    errors: IO[bytes]
    with (directory / "stderr").open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()


def _wait(process: subprocess.Popen[bytes], file: Path, deadline: Deadline) -> bool:
    """Whether `file` appears before the process exits or the deadline passes."""
    while deadline.left > 0:
        if file.exists():
            return True
        if process.poll() is not None:
            return file.exists()
        time.sleep(_PAUSE)
    return False


def _exception_of(process: subprocess.Popen[bytes], directory: Path) -> str:
    """The name of the exception that ended the process. Its message may contain content."""
    if process.poll() is None:
        return ""
    lines = (directory / "stderr").read_text("utf-8", "replace").strip().splitlines()
    match = _ERROR_NAME.match(lines[-1]) if lines else None
    return f" ({match[1]})" if match else ""
