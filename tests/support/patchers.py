"""Other tools that patch threads and pools: the real ones, where installed, and wrappers of their form.

Each function patches the process, and returns a function that takes the patches back (or does nothing, if the
tool has no such thing).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from types import FunctionType
from typing import Any

import wrapt

Undo = Callable[[], object]


def _nothing() -> None:
    """The patches stay."""


class _Patches:
    """Attributes of classes that are replaced, and restored unless another tool has replaced them since."""

    def __init__(self) -> None:
        self._replaced: list[tuple[type, str, Any, Any]] = []

    def put(self, owner: type, name: str, value: Any) -> None:
        self._replaced.append((owner, name, vars(owner)[name], value))
        setattr(owner, name, value)

    def undo(self) -> None:
        for owner, name, before, value in self._replaced:
            if vars(owner)[name] is value:
                setattr(owner, name, before)


def patched_like_sentry() -> Undo:
    """`ThreadingIntegration` of sentry-sdk 2.75: calls the `__func__` of `run` with the thread that runs."""
    start, submit = Thread.start, ThreadPoolExecutor.submit

    @functools.wraps(start)
    def sentry_start(self: Any, *a: Any, **kw: Any) -> Any:
        old_run = getattr(self.run, "__func__", self.run)

        @functools.wraps(old_run)
        def run(*a: Any, **kw: Any) -> Any:
            return old_run(threading.current_thread(), *a[1:], **kw)

        self.run = run
        return start(self, *a, **kw)

    @functools.wraps(submit)
    def sentry_submit(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        def wrapped_fn(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return submit(self, wrapped_fn, *args, **kwargs)

    patches = _Patches()
    patches.put(Thread, "start", sentry_start)
    patches.put(ThreadPoolExecutor, "submit", sentry_submit)
    return _nothing


def patched_like_new_relic() -> Undo:
    """wrapt's function wrappers, of which New Relic's and OpenTelemetry's are made, on classes and on each
    instance's `run`."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    def start(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        instance.run = wrapt.FunctionWrapper(instance.run, call)
        return wrapped(*args, **kwargs)

    def submit(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(wrapt.FunctionWrapper(args[0], call), *args[1:], **kwargs)

    patches = _Patches()
    patches.put(Thread, "start", wrapt.FunctionWrapper(Thread.start, start))
    patches.put(Thread, "run", wrapt.FunctionWrapper(Thread.run, call))
    patches.put(ThreadPoolExecutor, "submit", wrapt.FunctionWrapper(ThreadPoolExecutor.submit, submit))
    return patches.undo


def patched_like_datadog() -> Undo:
    """ddtrace 4: the function object stays and gets another code, which calls a copy of the function."""

    def give(function: FunctionType, wrapper: Callable[..., Any]) -> Undo:
        before = function.__code__
        copy = FunctionType(
            before, function.__globals__, "<wrapped>", function.__defaults__, function.__closure__
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        # a code can only be exchanged for one with the same free variables
        free = ", ".join(before.co_freevars)
        source = f"""
def around({free}):
    def call(*args, **kwargs):
        ({free or "None"})
        return _wrapper_(_wrapped_, args, kwargs)
    return call
"""
        made: dict[str, Any] = {}
        exec(source, made)
        code = made["around"](*before.co_freevars).__code__
        own = {"_wrapper_": f"_wrapper_{id(copy)}", "_wrapped_": f"_wrapped_{id(copy)}"}
        function.__globals__.update({own["_wrapper_"]: wrapper, own["_wrapped_"]: copy})
        function.__code__ = code.replace(co_names=tuple(own.get(name, name) for name in code.co_names))
        return lambda: setattr(function, "__code__", before)

    def submit(wrapped: Any, args: Any, kwargs: Any) -> Any:
        self, fn, *rest = args
        return wrapped(self, lambda fn, args: fn(*args, **kwargs), fn, rest)

    def start(wrapped: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    undo_submit = give(ThreadPoolExecutor.submit, submit)  # type: ignore[arg-type]
    undo_start = give(Thread.start, start)  # type: ignore[arg-type]
    return lambda: (undo_submit(), undo_start())


def patched_through_the_function() -> Undo:
    """A tool that keeps the functions of bound methods and calls them with the instance."""
    start, submit = Thread.start, ThreadPoolExecutor.submit

    def started(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = self.run

        def traced(*args: Any, **kwargs: Any) -> Any:
            return (
                run.__func__(run.__self__, *args, **kwargs)
                if hasattr(run, "__func__")
                else run(*args, **kwargs)
            )

        self.run = traced
        return start.__get__(self)(*args, **kwargs)

    def submitted(self: Any, *args: Any, **kwargs: Any) -> Any:
        return submit.__get__(self).__func__(self, *args, **kwargs)

    patches = _Patches()
    patches.put(Thread, "start", started)
    patches.put(ThreadPoolExecutor, "submit", submitted)
    return patches.undo


def opentelemetry() -> Undo:
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor

    ThreadingInstrumentor().instrument()
    return ThreadingInstrumentor().uninstrument


def sentry_sdk() -> Undo:
    sdk = importlib.import_module("sentry_sdk")
    sdk.init("http://key@127.0.0.1:9/1", traces_sample_rate=1.0, send_default_pii=True, shutdown_timeout=0)
    return _nothing


def ddtrace() -> Undo:
    os.environ.update(DD_INSTRUMENTATION_TELEMETRY_ENABLED="false", DD_TRACE_STARTUP_LOGS="false")
    logging.getLogger("ddtrace").setLevel(logging.CRITICAL)  # there is no agent
    importlib.import_module("ddtrace._monkey")._patch_all()
    futures = importlib.import_module("ddtrace.contrib.internal.futures.patch")
    return futures.unpatch  # type: ignore[no-any-return]


def newrelic() -> Undo:
    os.environ.update(NEW_RELIC_LICENSE_KEY="0" * 40, NEW_RELIC_LOG_LEVEL="critical")
    importlib.import_module("newrelic.agent").initialize()
    wrapper = importlib.import_module("newrelic.api.function_trace").FunctionTraceWrapper
    patches = _Patches()
    for owner, name in ((Thread, "start"), (Thread, "run"), (ThreadPoolExecutor, "submit")):
        patches.put(owner, name, wrapper(vars(owner)[name]))
    return patches.undo


def gevent() -> Undo:
    monkey = importlib.import_module("gevent.monkey")
    monkey.patch_all()
    return _nothing


FORMS = (
    patched_like_sentry,
    patched_like_new_relic,
    patched_like_datadog,
    patched_through_the_function,
    opentelemetry,
)
MONITORS = (sentry_sdk, ddtrace, newrelic)
REAL = (*MONITORS, gevent)


def installed(patcher: Callable[[], Undo]) -> bool:
    """Whether the tool is in this environment; those of `requirements-interop.lock` are."""
    return importlib.util.find_spec(patcher.__name__) is not None
