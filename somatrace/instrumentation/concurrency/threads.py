"""Threads and thread pools take trace context and tags along. Asyncio tasks do so by themselves."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import ContextSnapshot

#: Threads that serve many callers: what they do for whom comes with each task, not with their start.
_SERVANTS: Final = ("somatrace-",)
_SERVANT_MODULES: Final = (
    "anyio._backends._asyncio",
    "concurrent.futures",
    "multiprocessing.pool",
    "multiprocessing.queues",
    "opentelemetry.sdk",
)


def install(coverage: Coverage) -> None:
    """Wrap `Thread.start` now, and the pool's `submit` once it is imported."""
    when_imported("threading", coverage, _threading)
    when_imported("concurrent.futures.thread", coverage, _thread_pool, library="ThreadPoolExecutor")


def _threading(module: ModuleType) -> None:
    wrap_method(module.Thread, "start", _start)


def _thread_pool(module: ModuleType) -> None:
    wrap_method(module.ThreadPoolExecutor, "submit", _submit)


def _start(wrapped: Any, thread: threading.Thread, args: Any, kwargs: Any) -> Any:
    """`run` is shadowed on the instance, because subclasses override it; the shadow goes when it runs."""
    moment = ContextSnapshot()
    if not moment.empty and not _serves_many(thread):
        run = thread.run

        def run_there() -> None:
            vars(thread).pop("run", None)
            with moment:
                run()

        thread.run = run_there  # type: ignore[method-assign]
    return wrapped(*args, **kwargs)


def _submit(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    if not args or not callable(args[0]):
        return wrapped(*args, **kwargs)
    return wrapped(_There(args[0]), *args[1:], **kwargs)


class _There:
    """A function that runs in the moment it was submitted in."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._moment = ContextSnapshot()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._moment:
            return self._function(*args, **kwargs)


def _serves_many(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    home = str(getattr(target, "__module__", None) or type(thread).__module__)
    return thread.name.startswith(_SERVANTS) or home.startswith(_SERVANT_MODULES)
