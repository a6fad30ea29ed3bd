"""Hooks that instrument a library when the program imports it, and never import it themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from somatrace.instrumentation import post_import
from somatrace.instrumentation.coverage import ON, Coverage
from somatrace.instrumentation.guarded_call import guarded, guarded_async


def when_imported(
    module: str,
    coverage: Coverage,
    function: Callable[[ModuleType], str | None],
    *,
    library: str = "",
) -> None:
    """Call `function(module)` once: now if `module` is loaded, else right after the program imports it.

    Nothing is imported here. `function` returns the state of `library` (by default the top-level package
    of `module`) for `status()`; None means "on". An exception goes to `coverage.failed`, never into the
    program's import.
    """
    name = library or module.partition(".")[0]
    once = threading.Lock()

    def instrument(loaded: ModuleType) -> None:
        if not once.acquire(blocking=False):
            return
        coverage.imported(name, module)
        try:
            completed(loaded)
            coverage.set(name, function(loaded) or ON)
        except Exception as error:
            coverage.failed(name, error)

    coverage.waits(name, module)
    try:
        post_import.register(instrument, module)
    except Exception as error:
        coverage.failed(name, error)


def completed(module: ModuleType) -> None:
    """Wait for another thread that is just importing `module`: until then it lacks what is to be wrapped.

    Returns at once in a thread that imports the module itself, because its import lock is reentrant.
    """
    if getattr(getattr(module, "__spec__", None), "_initializing", False) is True:
        importlib.import_module(module.__name__)


def wrap_method(owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Put `wrapper(call, instance, args, kwargs)` around a method of the class `owner`, for all instances.

    The method is replaced by a plain function, or by a coroutine function if `wrapper` is one: servers
    test their callables with `iscoroutinefunction`, which gives other results for proxies. A fault of
    `wrapper` itself changes nothing for the caller.
    """
    method = getattr(owner, name)
    if inspect.iscoroutinefunction(wrapper):

        @functools.wraps(method)
        async def awaited(self: object, /, *args: Any, **kwargs: Any) -> Any:
            return await guarded_async(wrapper, functools.partial(method, self), self, args, kwargs)

        setattr(owner, name, awaited)
    else:

        @functools.wraps(method)
        def called(self: object, /, *args: Any, **kwargs: Any) -> Any:
            return guarded(wrapper, functools.partial(method, self), self, args, kwargs)

        setattr(owner, name, called)
