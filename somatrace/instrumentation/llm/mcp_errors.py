"""Replace the mcp instrumentor's `dont_throw`, which also swallows the program's exceptions.

It should keep the instrumentor's faults from the program, but it wraps the program's call as well: an
`McpError` of `read_resource` never reaches the caller, who gets None.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger("somatrace")


def replace_dont_throw(package: str) -> None:
    """Replace it in the loaded modules of `package`. To be called before the package instruments."""
    for name, module in list(sys.modules.items()):
        if (name == package or name.startswith(package + ".")) and hasattr(module, "dont_throw"):
            module.dont_throw = dont_throw  # type: ignore[attr-defined]


def dont_throw(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """`wrapper(wrapped, instance, args, kwargs)`, raising only the exceptions of `wrapped` itself.

    If the wrapper fails before or after the program's call, the call is still made exactly once.
    """
    if inspect.iscoroutinefunction(wrapper):

        @functools.wraps(wrapper)
        async def awaited(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            call = _Call(wrapped)
            try:
                return await wrapper(call.awaited, instance, args, kwargs)
            except Exception as error:
                if call.settled(wrapper, error):
                    return call.result
                return await wrapped(*args, **kwargs)

        return awaited

    @functools.wraps(wrapper)
    def called(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        call = _Call(wrapped)
        try:
            return wrapper(call, instance, args, kwargs)
        except Exception as error:
            if call.settled(wrapper, error):
                return call.result
            return wrapped(*args, **kwargs)

    return called


class _Call:
    """The program's own call and its outcome."""

    def __init__(self, wrapped: Callable[..., Any]) -> None:
        self._wrapped = wrapped
        self._failure: BaseException | None = None
        self._called = False
        self.result: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._called = True
        try:
            self.result = self._wrapped(*args, **kwargs)
        except BaseException as failure:
            self._failure = failure
            raise
        return self.result

    async def awaited(self, *args: Any, **kwargs: Any) -> Any:
        self._called = True
        try:
            awaitable: Awaitable[Any] = self._wrapped(*args, **kwargs)
            self.result = await awaitable
        except BaseException as failure:
            self._failure = failure
            raise
        return self.result

    def settled(self, wrapper: Callable[..., Any], error: Exception) -> bool:
        """Whether the call was made and returned. Raises the call's own exception, if it failed."""
        if self._failure is not None:
            raise self._failure
        log.debug("%s: %s in the instrumentation", wrapper.__name__, type(error).__name__)
        return self._called
