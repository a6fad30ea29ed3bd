"""Has a child process load the service, and says what it saw there."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from somatrace.doctor.child import LoadOrder
from somatrace.doctor.findings import DoctorFinding, finding
from somatrace.doctor.installed_findings import distribution_of, version_of

_CHILD: Final = (sys.executable, "-m", "somatrace.doctor.child")


def app_findings(app: str, *, factory: bool, timeout: float, said: Container[str]) -> Iterator[DoctorFinding]:
    """What is traced in the service `module:app`; loading it may take `timeout` seconds.

    `said` holds problems that are known without it.
    """
    seen = _loaded(app, factory, timeout)
    if seen is None:
        yield finding("app_slow", app=app, seconds=f"{timeout:g}")
    elif seen["error"]:
        yield finding("app_failed", app=app, what=seen["error"])
    else:
        if seen["startup"]:
            yield finding("app_startup", app=app, what=seen["startup"])
        if seen["service"]:
            yield finding("app", app=app, service=seen["service"])
            yield from _traced(app, seen, said)
        else:
            yield finding("app_untraced", app=app)


def _traced(app: str, seen: Mapping[str, Any], said: Container[str]) -> Iterator[DoctorFinding]:
    for what in seen["unprotected"]:
        yield finding("unprotected", app=app, what=what)
    for what in seen["problems"]:
        if what not in said:
            yield finding("app_problem", app=app, what=what)
    if seen["ignored"]:
        counts = ", ".join(f"{reason} ({count})" for reason, count in seen["ignored"].items())
        yield finding("ignored", app=app, what=counts)
    if seen["own_exporters"]:
        yield finding("own_exporters", app=app)
    for callback in seen["callbacks"]:
        yield finding("bypass", callback=callback)
    if seen["instruments"]:  # none is told of where tracing is off, and that is said elsewhere
        for library, module in seen["imported"]:
            yield _imported(library, module, seen["instruments"])


def _imported(library: str, module: str, instruments: Mapping[str, str]) -> DoctorFinding:
    state = instruments.get(library, "nothing waits for it")
    fields = {"library": library, "version": version_of(distribution_of(module)) or "?"}
    if state == "on" or state.startswith(("on ", "on;")):
        return finding("imported", **fields, more=state.removeprefix("on").replace("; ", ", ", 1))
    return finding("imported_without", **fields, why=state.removeprefix("off: "))


def _loaded(app: str, factory: bool, timeout: float) -> dict[str, Any] | None:
    """What the child process saw; None when it took too long."""
    with tempfile.TemporaryDirectory(prefix="somatrace-doctor-", ignore_cleanup_errors=True) as name:
        order: LoadOrder = {
            "directory": name,
            "app": app,
            "factory": factory,
            "until": time.monotonic() + timeout,
        }
        process = subprocess.Popen(  # noqa: S603 - our own module; it gets the service's whole environment
            _CHILD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ended = True
        try:
            process.communicate(json.dumps(order).encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            ended = False  # all may be said, and a thread of the service keep it from ending
        finally:
            process.kill()
            process.wait()
        result = Path(name) / "result.json"
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads(result.read_text())
            return found
        return {"error": _ending(process.returncode)} if ended else None


def _ending(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"
