"""Pass trace context and tags to threads and thread pools. Asyncio tasks copy them by themselves."""

from __future__ import annotations

import inspect
import threading
from types import MethodType, ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import ContextSnapshot

#: Threads that serve many callers: the context comes with each task, not with the thread's start.
_WORKER_NAMES: Final = ("somatrace-",)
_WORKER_MODULES: Final = (
    "anyio._backends._asyncio",
    "concurrent.futures",
    "multiprocess.pool",
    "multiprocess.queues",
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
    if "start" in vars(module.Timer):  # OpenTelemetry's instrumentor has put one there, around `Thread`'s
        wrap_method(module.Timer, "start", _start)


def _thread_pool(module: ModuleType) -> None:
    wrap_method(module.ThreadPoolExecutor, "submit", submit_in_context)


def _start(wrapped: Any, thread: threading.Thread, args: Any, kwargs: Any) -> Any:
    """Shadow `run` on the instance, because subclasses override it. The shadow is removed when it runs."""
    snapshot = ContextSnapshot()
    if snapshot.empty or _serves_many(thread) or not _can_be_shadowed(thread):
        return wrapped(*args, **kwargs)
    shadow = _Shadow(thread, snapshot)
    try:
        return wrapped(*args, **kwargs)
    except BaseException:  # it did not start
        shadow.remove()
        raise


def _can_be_shadowed(thread: threading.Thread) -> bool:
    """Whether an attribute of the instance takes the place of `run`, in a thread that was not started yet."""
    kind = type(_class_run(thread))
    return thread.ident is None and not (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))


class _Shadow:
    """The attribute `run` of a thread, until it is called: a method that runs in the snapshot's context.

    It is a bound method, like the one that it shadows: other tools put their wrappers around `thread.run` or
    around its `__func__`.
    """

    def __init__(self, thread: threading.Thread, snapshot: ContextSnapshot) -> None:
        self._attributes = vars(thread)  # not `setattr`, which a class may restrict
        self._before = self._attributes.get("run")  # the shadow of another tool

        def run(thread: threading.Thread, /, *args: Any, **kwargs: Any) -> Any:
            self.remove()
            original = _bound_run(thread) if self._before is None else self._before
            with snapshot:
                return original(*args, **kwargs)

        self._method: MethodType | None = MethodType(run, thread)
        self._attributes["run"] = self._method

    def remove(self) -> None:
        """Restore the attribute, unless another tool has replaced it since."""
        attributes, method = self._attributes, self._method
        self._attributes, self._method = {}, None  # a thread is not in a reference cycle with its function
        if method is None or attributes.get("run") is not method:
            return
        if self._before is None:
            attributes.pop("run", None)
        else:
            attributes["run"] = self._before


def _class_run(thread: threading.Thread) -> Any:
    return inspect.getattr_static(type(thread), "run")


def _bound_run(thread: threading.Thread) -> Any:
    """What `thread.run` is without attributes of the instance."""
    attribute = _class_run(thread)
    bind = getattr(type(attribute), "__get__", None)
    return attribute if bind is None else bind(attribute, thread, type(thread))


def submit_in_context(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    """Call a method whose first argument is a function, so that the function runs in the current context."""
    if not args or not callable(args[0]):
        return wrapped(*args, **kwargs)
    return wrapped(_InContext(args[0]), *args[1:], **kwargs)


class _InContext:
    """A function that runs in the context in which it was submitted. It has the function's attributes."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._snapshot = ContextSnapshot()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._snapshot:
            return self._function(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_function"], name)


def _serves_many(thread: threading.Thread) -> bool:
    target = getattr(thread, "_target", None)
    module = str(getattr(target, "__module__", None) or type(thread).__module__)
    return thread.name.startswith(_WORKER_NAMES) or module.startswith(_WORKER_MODULES)
