"""Child process of `doctor --app`: load a service as its server would and report how it is traced.

`python -m somatrace.doctor.child` reads its order as JSON from standard input and writes `result.json` to
the order's directory. An ASGI app goes through its lifespan startup and shutdown; no request is made.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

#: litellm callbacks that export on their own, bypassing every tracer provider.
_BYPASSES: Final = ("langfuse", "langfuse_otel", "traceloop", "otel", "langsmith", "arize", "logfire")
#: Seconds reserved after startup for the shutdown and for writing the result.
_RESERVE: Final = 1.5
#: Libraries that somatrace instruments itself, by the module whose import shows that they are used.
_OTHERS: Final = ("aiohttp", "celery", "fastapi", "httpx", "httpx2", "requests", "starlette", "traceloop")


class LoadOrder(TypedDict):
    """The parent's request. `app` is `module:attribute`; with `factory` the attribute is called to create the
    app. `until` is in monotonic seconds, which all processes on a machine share."""

    directory: str
    app: str
    factory: bool
    until: float


def main() -> NoReturn:
    """Execute the order from standard input."""
    order: LoadOrder = json.load(sys.stdin)
    result: dict[str, Any] = {"error": "", "startup": ""}
    try:
        app = load(order["app"], factory=order["factory"])
    except BaseException as error:  # importing a service may raise SystemExit
        result["error"] = _error_name(error, order["app"])
    else:
        result["startup"] = asyncio.run(
            _run_lifespan(app, order["until"], lambda: result.update(_inspect(app)))
        )
    directory = Path(order["directory"])
    draft = directory / "result.draft"
    draft.write_text(json.dumps(result), encoding="utf-8")
    draft.replace(directory / "result.json")
    os._exit(0)  # do not wait for threads the service has started


def load(name: str, *, factory: bool) -> Any:
    """Import the app `module:attribute.attribute` from the working directory, as servers do."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module, _, attributes = name.partition(":")
    app: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        app = getattr(app, attribute)
    return app() if factory else app


async def _run_lifespan(app: Any, until: float, inspect: Callable[[], None]) -> str:
    """Start an ASGI app, inspect it and shut it down; return the startup error, "" if there was none."""
    if not _is_asgi(app):
        inspect()
        return ""
    seconds = max(0.1, until - time.monotonic() - _RESERVE)
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    serving = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, from_app.put)
    )
    to_app.put_nowait({"type": "lifespan.startup"})
    answer = asyncio.ensure_future(from_app.get())
    await asyncio.wait({serving, answer}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    error = _startup_error(serving, answer, seconds)
    inspect()
    to_app.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait({serving}, timeout=_RESERVE / 2)
    for task in (serving, answer):
        task.cancel()
    return error


def _is_asgi(app: Any) -> bool:
    """Whether the app is an async callable, as ASGI apps are."""
    call = app if asyncio.iscoroutinefunction(app) else getattr(app, "__call__", None)  # noqa: B004
    return asyncio.iscoroutinefunction(call)


def _startup_error(
    serving: asyncio.Future[Any], answer: asyncio.Future[dict[str, Any]], seconds: float
) -> str:
    if answer.done():
        failed = answer.result().get("type") == "lifespan.startup.failed"
        return "it reported a failure" if failed else ""
    if not serving.done():
        return f"it did not finish within {seconds:.3g} s"
    error = serving.exception()
    return "" if error is None else _error_name(error)


def _inspect(app: Any) -> dict[str, Any]:
    """The service's tracing status and its loaded libraries."""
    import somatrace
    from somatrace.libraries import INSTRUMENTED

    status = somatrace.status()
    return {
        "service": status.service,
        "problems": status.problems,
        "unprotected": status.unprotected,
        "lean_spans": status.lean_spans,
        "ignored": dict(status.ignored),
        "instruments": dict(status.instruments),
        "imported": sorted(
            {(row.name, name) for row in INSTRUMENTED for name in row.modules if name in sys.modules}
            | {(module, module) for module in _OTHERS if module in sys.modules}
        ),
        "own_exporters": bool((getattr(app, "_telemetry", None) or {}).get("auto_configure")),
        "callbacks": sorted(_callbacks()),
    }


def _callbacks() -> set[str]:
    """The exporting litellm callbacks that the service has enabled."""
    litellm = sys.modules.get("litellm")
    listed = [
        getattr(litellm, name, None) or () for name in ("success_callback", "failure_callback", "callbacks")
    ]
    return {str(each) for callbacks in listed for each in callbacks if each in _BYPASSES}


def _error_name(error: BaseException, app: str = "") -> str:
    """The exception's type and the name of a missing module or app. Its message may contain secrets."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if isinstance(error, AttributeError) and error.name in app.partition(":")[2].split("."):
        missing = error.name
    return f"{type(error).__name__}{f' ({missing})' if missing else ''}"


if __name__ == "__main__":
    main()
