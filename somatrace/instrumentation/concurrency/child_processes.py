"""Child processes are traced as their parent is, and tasks for pools of processes take their place along."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method
from somatrace.propagation import PicklableSnapshot

log = logging.getLogger("somatrace")

#: Seconds a child's exit may take because of us, and a pool of idle workers its end.
EXIT_LIMIT: Final = 1.0
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
    """How a child process comes to be traced: `start` traces it, `shutdown` ends it in bounded time.

    `start` must pickle, by name: a spawned child has nothing of its parent's memory.
    """

    def __init__(self, start: Callable[[], object], shutdown: Callable[[float], object]) -> None:
        self._start = pickle.dumps(start)
        self._shutdown = shutdown

    def seed(self) -> PickledSeed:
        return PickledSeed(self._start, PicklableSnapshot.capture())

    def at_exit(self, finalize: Callable[..., object]) -> None:
        """Children leave by `os._exit`, without `atexit`; multiprocessing has its own list of last things.
        -100: after whatever the program registered there."""
        finalize(None, self._shutdown, args=(EXIT_LIMIT,), exitpriority=-100)


class PickledSeed:
    """Lies in a pickled process object. Unpickling it traces the child and puts it where its parent was."""

    def __init__(self, start: bytes, snapshot: PicklableSnapshot) -> None:
        self._sown = (start, snapshot)

    def __reduce__(self) -> tuple[Any, ...]:
        return _sprout, self._sown


class PoolTask:
    """A function for a pool of processes, with the place it was submitted in."""

    def __init__(self, function: Callable[..., Any], snapshot: PicklableSnapshot | None = None) -> None:
        self._function = function
        self._snapshot = PicklableSnapshot.capture() if snapshot is None else snapshot

    def __reduce__(self) -> tuple[Any, ...]:
        return PoolTask, (self._function, self._snapshot)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._snapshot.moment():
            return self._function(*args, **kwargs)


def install(coverage: Coverage, start: Callable[[], object], shutdown: Callable[[float], object]) -> None:
    """Wait for the imports of multiprocessing and of the process pool."""
    try:
        lineage = ChildTracing(start, shutdown)
    except Exception as error:  # a Config that does not pickle
        coverage.failed("multiprocessing", error)
        return
    when_imported("multiprocessing.util", coverage, lambda module: _exits(module, lineage))
    when_imported(
        "multiprocessing.process",
        coverage,
        lambda module: _processes(module, lineage),
        library="multiprocessing.Process",
    )
    when_imported("multiprocessing.pool", coverage, _pool, library="multiprocessing.Pool")
    when_imported("concurrent.futures.process", coverage, _executor, library="ProcessPoolExecutor")


def _sprout(start: bytes, snapshot: PicklableSnapshot) -> None:
    try:
        pickle.loads(start)()  # noqa: S301 - our own bytes, from the parent, through its pipe
        snapshot.moment().enter()
    except Exception:
        log.debug("a child process is not traced", exc_info=True)


def _exits(module: ModuleType, lineage: ChildTracing) -> None:
    module.register_after_fork(lineage, lambda found: found.at_exit(module.Finalize))


def _processes(module: ModuleType, lineage: ChildTracing) -> None:
    def start(wrapped: Any, process: Any, args: Any, kwargs: Any) -> Any:
        vars(process)["_somatrace_seed"] = lineage.seed()
        try:
            return wrapped(*args, **kwargs)
        finally:
            vars(process).pop("_somatrace_seed", None)

    wrap_method(module.BaseProcess, "start", start)


def _executor(module: ModuleType) -> None:
    wrap_method(module.ProcessPoolExecutor, "submit", _submit)


def _pool(module: ModuleType) -> None:
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
    """`with Pool() as pool:` ends by killing its workers. Those that are idle get a moment to leave by
    themselves, so that the last spans are not lost."""
    try:
        _let_go(pool)
    except Exception:
        log.debug("idle workers are ended as they are", exc_info=True)
    return wrapped(*args, **kwargs)


def _let_go(pool: Any) -> None:
    workers = [worker for worker in pool._pool if hasattr(worker, "sentinel") and worker.pid]
    if not workers or pool._cache:
        return
    from multiprocessing.connection import wait  # the program has loaded it

    pool.close()
    until = time.monotonic() + EXIT_LIMIT
    waiting = [worker.sentinel for worker in workers]
    while waiting and (left := until - time.monotonic()) > 0:
        done = wait(waiting, left)
        waiting = [sentinel for sentinel in waiting if sentinel not in done]
