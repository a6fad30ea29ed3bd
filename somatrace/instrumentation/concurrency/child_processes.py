"""Trace child processes like their parent, and pass context to the tasks of process pools."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import PicklableSnapshot
from somatrace.runtime.clock import clock
from somatrace.runtime.limits import EXIT_LIMIT

log = logging.getLogger("somatrace")

#: `multiprocess`, of pathos and datasets, is a copy of `multiprocessing` that pickles with dill.
_PACKAGES: Final = ("multiprocessing", "multiprocess")
_POOL_METHODS: Final = (
    "apply_async",
    "imap",
    "imap_unordered",
    "map",
    "map_async",
    "starmap",
    "starmap_async",
)


class ChildTracing:
    """Starts tracing in child processes by `start`, and ends it by `shutdown` within a time limit.

    `start` must be picklable, by name: a spawned child has none of its parent's memory.
    """

    def __init__(self, start: Callable[[], object], shutdown: Callable[[float], object]) -> None:
        self._start = pickle.dumps(start)
        self._shutdown = shutdown

    def seed(self) -> PickledSeed:
        return PickledSeed(self._start, PicklableSnapshot.capture())

    def at_exit(self, finalize: Callable[..., object]) -> None:
        """Register `shutdown` with multiprocessing's own finalizers: children exit by `os._exit`, without
        `atexit`. The priority -100 puts it after those that the program registered."""
        finalize(None, self._shutdown, args=(EXIT_LIMIT,), exitpriority=-100)


class PickledSeed:
    """Part of a pickled process object. Unpickling starts tracing in the child, in its parent's context."""

    def __init__(self, start: bytes, snapshot: PicklableSnapshot) -> None:
        self._arguments = (start, snapshot)

    def __reduce__(self) -> tuple[Any, ...]:
        return _start_in_child, self._arguments


class PoolTask:
    """A function for a process pool, with the context in which it was submitted."""

    def __init__(self, function: Callable[..., Any], snapshot: PicklableSnapshot | None = None) -> None:
        self._function = function
        self._snapshot = PicklableSnapshot.capture() if snapshot is None else snapshot

    def __reduce__(self) -> tuple[Any, ...]:
        return PoolTask, (self._function, self._snapshot)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._snapshot.moment():
            return self._function(*args, **kwargs)


def install(coverage: Coverage, start: Callable[[], object], shutdown: Callable[[float], object]) -> None:
    """Wait for the imports of multiprocessing and of the process pools."""
    try:
        tracing = ChildTracing(start, shutdown)
    except Exception as error:  # a Config that cannot be pickled
        coverage.failed("multiprocessing", error)
        return
    for package in _PACKAGES:
        when_imported(f"{package}.util", coverage, lambda module: _register_exit(module, tracing))
        when_imported(
            f"{package}.process",
            coverage,
            lambda module: _wrap_processes(module, tracing),
            library=f"{package}.Process",
        )
        when_imported(f"{package}.pool", coverage, _wrap_pool, library=f"{package}.Pool")
    when_imported("concurrent.futures.process", coverage, _wrap_executor, library="ProcessPoolExecutor")


def _start_in_child(start: bytes, snapshot: PicklableSnapshot) -> None:
    try:
        pickle.loads(start)()  # noqa: S301 - bytes made by the parent, through its pipe
        snapshot.moment().enter()
    except Exception:
        log.debug("a child process is not traced", exc_info=True)


def _register_exit(module: ModuleType, tracing: ChildTracing) -> None:
    module.register_after_fork(tracing, lambda copy: copy.at_exit(module.Finalize))


def _wrap_processes(module: ModuleType, tracing: ChildTracing) -> None:
    def start(wrapped: Any, process: Any, args: Any, kwargs: Any) -> Any:
        vars(process)["_somatrace_seed"] = tracing.seed()
        try:
            return wrapped(*args, **kwargs)
        finally:
            vars(process).pop("_somatrace_seed", None)

    wrap_method(module.BaseProcess, "start", start)


def _wrap_executor(module: ModuleType) -> None:
    wrap_method(module.ProcessPoolExecutor, "submit", _submit)


def _wrap_pool(module: ModuleType) -> None:
    for method in _POOL_METHODS:
        wrap_method(module.Pool, method, _submit)
    wrap_method(module.Pool, "terminate", _terminate)


def _submit(wrapped: Any, instance: object, args: Any, kwargs: Any) -> Any:  # noqa: ARG001
    if args and callable(args[0]):
        args = (PoolTask(args[0]), *args[1:])
    elif callable(kwargs.get("func")):
        kwargs = {**kwargs, "func": PoolTask(kwargs["func"])}
    return wrapped(*args, **kwargs)


def _terminate(wrapped: Any, pool: Any, args: Any, kwargs: Any) -> Any:
    """Let idle workers exit by themselves first, so that their last spans are not lost: at its end
    `with Pool() as pool:` kills its workers."""
    try:
        _wait_for_idle_workers(pool)
    except Exception:
        log.debug("idle workers of a pool are terminated without waiting", exc_info=True)
    return wrapped(*args, **kwargs)


def _wait_for_idle_workers(pool: Any) -> None:
    workers = [worker for worker in pool._pool if hasattr(worker, "sentinel") and worker.pid]
    if not workers or pool._cache:
        return
    import selectors  # the program has loaded it

    pool.close()
    deadline = clock.monotonic() + EXIT_LIMIT
    # not `multiprocessing.connection.wait`, which reads a clock that the program may have replaced
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.sentinel, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - clock.monotonic()) > 0:
            for key, _ in selector.select(left):
                selector.unregister(key.fileobj)
