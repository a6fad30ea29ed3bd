"""Pass trace context and tags to threads and thread pools. Asyncio tasks copy them by themselves."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import ContextSnapshot

#: Threads that serve many callers: the context comes with each task, not with the thread's start.
_WORKER_NAMES: Final = ("somatrace-",)
_WORKER_MODULES: Final = (
    "anyio._backends._asyncio",
    "concurrent.futures",
    "multiprocessing.pool",
    "multiprocessing.queues",
    "opentelemetry.sdk",
)


def install(coverage: Coverage) -> None:
    """Wrap `Thread.start` now, and the pool's `submit` when it is imported."""
    when_imported("threading", coverage, _threading)
    when_imported("concurrent.futures.thread", coverage, _thread_pool, library="ThreadPoolExecutor")


def _threading(module: ModuleType) -> None:
    wrap_method(module.Thread, "start", _start)


def _thread_pool(module: ModuleType) -> None:
    wrap_method(module.ThreadPoolExecutor, "submit", _submit)


def _start(wrapped: Any, thread: threading.Thread, args: Any, kwargs: Any) -> Any:
    """Shadow `run` on the instance, because subclasses override it. The shadow is removed when it runs."""
    snapshot = ContextSnapshot()
    if not snapshot.empty and not _serves_many(thread):
        run = thread.run

        def run_in_context() -> None:
            vars(thread).pop("run", None)
            with snapshot:
                run()

        thread.run = run_in_context  # type: ignore[method-assign]
    return wrapped(*args, **kwargs)


def _submit(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    if not args or not callable(args[0]):
        return wrapped(*args, **kwargs)
    return wrapped(_InContext(args[0]), *args[1:], **kwargs)


class _InContext:
    """A function that runs in the context in which it was submitted."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._snapshot = ContextSnapshot()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._snapshot:
            return self._function(*args, **kwargs)


def _serves_many(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    module = str(getattr(target, "__module__", None) or type(thread).__module__)
    return thread.name.startswith(_WORKER_NAMES) or module.startswith(_WORKER_MODULES)
