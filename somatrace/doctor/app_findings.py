"""Load the service in a child process and report how it is traced."""

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


def app_findings(
    app: str, *, factory: bool, timeout: float, known: Container[str]
) -> Iterator[DoctorFinding]:
    """Findings about the service `module:app`, which has `timeout` seconds to load.

    Problems in `known` were reported already and are not repeated.
    """
    seen = _load(app, factory, timeout)
    if seen is None:
        yield finding("app_slow", app=app, seconds=f"{timeout:g}")
    elif seen["error"]:
        yield finding("app_failed", app=app, what=seen["error"])
    else:
        if seen["startup"]:
            yield finding("app_startup", app=app, what=seen["startup"])
        if seen["service"]:
            yield finding("app", app=app, service=seen["service"])
            yield from _trace_findings(app, seen, known)
        else:
            yield finding("app_untraced", app=app)


def _trace_findings(app: str, seen: Mapping[str, Any], known: Container[str]) -> Iterator[DoctorFinding]:
    for what in seen["unprotected"]:
        yield finding("unprotected", app=app, what=what)
    for what in seen["problems"]:
        if what not in known:
            yield finding("app_problem", app=app, what=what)
    if not (seen["lean_spans"] or seen["unprotected"]):
        yield finding("sdk_spans", app=app)
    if seen["ignored"]:
        counts = ", ".join(f"{reason} ({count})" for reason, count in seen["ignored"].items())
        yield finding("ignored", app=app, what=counts)
    if seen["own_exporters"]:
        yield finding("own_exporters", app=app)
    for callback in seen["callbacks"]:
        yield finding("bypass", callback=callback)
    if seen["instruments"]:  # empty when tracing is disabled, which has a separate finding
        for library, module in seen["imported"]:
            yield _library_finding(library, module, seen["instruments"])


def _library_finding(library: str, module: str, instruments: Mapping[str, str]) -> DoctorFinding:
    state = instruments.get(library, "no import hook is registered")
    fields = {"library": library, "version": version_of(distribution_of(module)) or "?"}
    if state == "on" or state.startswith(("on ", "on;")):
        return finding("imported", **fields, more=state.removeprefix("on").replace("; ", ", ", 1))
    return finding("imported_without", **fields, why=state.removeprefix("off: "))


def _load(app: str, factory: bool, timeout: float) -> dict[str, Any] | None:
    """The child process's result; None when it took too long."""
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
        exited = True
        try:
            process.communicate(json.dumps(order).encode(), timeout=timeout)
        except subprocess.TimeoutExpired:
            exited = False  # the result may be complete while a service thread keeps the process alive
        finally:
            process.kill()
            process.wait()
        result = Path(name) / "result.json"
        with contextlib.suppress(OSError, ValueError):
            loaded: dict[str, Any] = json.loads(result.read_text())
            return loaded
        return {"error": _exit_reason(process.returncode)} if exited else None


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"its process exited with code {code}"
    with contextlib.suppress(ValueError):
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process was killed by signal {-code}"
