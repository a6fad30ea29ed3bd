"""The child process of `doctor --app`: loads a service as its server would, and says what became of it.

`python -m somatrace.doctor.child` reads its order as JSON from standard input and writes `result.json` into
the order's directory. An ASGI app is started up and shut down as a server does it; no request is made.
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

#: Who exports from within litellm, past every tracer provider.
_BYPASSES: Final = ("langfuse", "langfuse_otel", "traceloop", "otel", "langsmith", "arize", "logfire")
#: Seconds that a start-up leaves for the shutdown, and for saying what was seen.
_REST: Final = 1.5
#: Libraries that somatrace instruments by itself, by the module that says that they are used.
_OTHERS: Final = ("aiohttp", "celery", "fastapi", "httpx", "httpx2", "requests", "starlette", "traceloop")


class LoadOrder(TypedDict):
    """What the parent wants: `app` is `module:attribute`, `factory` says that the attribute makes the app;
    `until` is in monotonic seconds, which all processes of a machine share."""

    directory: str
    app: str
    factory: bool
    until: float


def main() -> NoReturn:
    """Carry out the order on standard input."""
    order: LoadOrder = json.load(sys.stdin)
    result: dict[str, Any] = {"error": "", "startup": ""}
    try:
        app = load(order["app"], factory=order["factory"])
    except BaseException as error:  # a service may leave by SystemExit when it is imported
        result["error"] = _said(error)
    else:
        result["startup"] = asyncio.run(_started(app, order["until"], lambda: result.update(_seen(app))))
    directory = Path(order["directory"])
    draft = directory / "result.draft"
    draft.write_text(json.dumps(result), encoding="utf-8")
    draft.replace(directory / "result.json")
    os._exit(0)  # whatever threads the service has started


def load(name: str, *, factory: bool) -> Any:
    """The app called `module:attribute.attribute`, from the working directory as servers do it."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module, _, attributes = name.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found() if factory else found


async def _started(app: Any, until: float, look: Callable[[], None]) -> str:
    """Start an ASGI app up, look, and shut it down; what went wrong with its start-up, "" if nothing."""
    if not _is_asgi(app):
        look()
        return ""
    seconds = max(0.1, until - time.monotonic() - _REST)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    serving = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, told.get, said.put)
    )
    told.put_nowait({"type": "lifespan.startup"})
    answer = asyncio.ensure_future(said.get())
    await asyncio.wait({serving, answer}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    wrong = _wrong(serving, answer, seconds)
    look()
    told.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait({serving}, timeout=_REST / 2)
    for task in (serving, answer):
        task.cancel()
    return wrong


def _is_asgi(app: Any) -> bool:
    """Whether it is an app of the frameworks that are instrumented, or is called as one is."""
    call = app if asyncio.iscoroutinefunction(app) else getattr(app, "__call__", None)  # noqa: B004
    return asyncio.iscoroutinefunction(call)


def _wrong(serving: asyncio.Future[Any], answer: asyncio.Future[dict[str, Any]], seconds: float) -> str:
    if answer.done():
        failed = answer.result().get("type") == "lifespan.startup.failed"
        return "it says that it failed" if failed else ""
    if not serving.done():
        return f"it was not done within {seconds:.3g} s"
    error = serving.exception()
    return "" if error is None else _said(error)


def _seen(app: Any) -> dict[str, Any]:
    """How tracing stands, and which libraries are loaded."""
    import somatrace
    from somatrace.libraries import INSTRUMENTED

    status = somatrace.status()
    return {
        "service": status.service,
        "problems": status.problems,
        "unprotected": status.unprotected,
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
    """The exporters within litellm that the service has switched on."""
    litellm = sys.modules.get("litellm")
    listed = [
        getattr(litellm, name, None) or () for name in ("success_callback", "failure_callback", "callbacks")
    ]
    return {str(each) for callbacks in listed for each in callbacks if each in _BYPASSES}


def _said(error: BaseException) -> str:
    """What kind of failure it was, and the name of a missing module. Other texts may hold secrets."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return f"{type(error).__name__}{f' ({missing})' if missing else ''}"


if __name__ == "__main__":
    main()
