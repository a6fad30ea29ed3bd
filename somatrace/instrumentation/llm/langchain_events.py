"""Isolate the handler by which langchain's instrumentor gets the events of runs, and note first tokens.

Langchain calls its methods in the middle of the program's runs, with the program's own objects, and logs
their faults on the program's stderr. The handler is an inline one: beside it, `on_llm_start` of
`AsyncCallbackManager` in langchain-core calls no others, so that the program's own handlers would lose the
asynchronous calls of (completion) models.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from somatrace.instrumentation.llm import langchain_runs
from somatrace.instrumentation.llm.isolation.first_token import arrived
from somatrace.instrumentation.llm.isolation.framework_values import copied
from somatrace.instrumentation.llm.isolation.noted_spans import log_fault
from somatrace.instrumentation.llm.isolation.passive import Unread
from somatrace.runtime.fail_safe import fail_safe, from_a_signal

#: The arguments of events that hold content, which the handler reads only where content may be recorded.
_CONTENT: Final = frozenset(
    ("documents", "input_str", "inputs", "messages", "output", "outputs", "prompts", "query")
)
#: The events whose second argument without a name is content, after the description of the run's object.
_STARTS: Final = "_start"
#: The mark of a call of a model whose first token has arrived.
_ARRIVED = "_somatrace_has_token"


def add_handler(package: str) -> None:
    """Add the instrumentor's handler to callback managers without changing the program's own lists.

    To be called before the instrumentor `package` instruments.
    """
    module: Any = sys.modules.get(package)
    if hasattr(module, "_BaseCallbackManagerInitWrapper"):
        module._BaseCallbackManagerInitWrapper = _adding


def _adding(handler: Any) -> Callable[..., Any]:
    def added(call: Any, manager: Any, _: Any, __: Any) -> None:
        call()
        inheritable = manager.inheritable_handlers
        if any(type(one) is type(handler) for one in list.__iter__(inheritable)):
            return
        if not any(one is handler for one in list.__iter__(manager.handlers)):
            manager.handlers = [*list.__iter__(manager.handlers), handler]
        manager.inheritable_handlers = [*list.__iter__(inheritable), handler]

    return added


def isolate_handler(package: str, packages: tuple[str, ...]) -> None:
    """Let the handler of the instrumentor take every event, with nothing but copies of the program's values.

    Events without a method of its own are ignored: it is also in the managers of libraries above langchain,
    such as langgraph with its `on_interrupt`.
    """
    module: Any = sys.modules.get(f"{package}.callback_handler")
    handler: Any = getattr(module, "TraceloopCallbackHandler", None)
    if handler is None or hasattr(handler, "__getattr__"):
        return
    wanted = getattr(module, "should_send_prompts", lambda: False)
    for name, method in vars(handler).copy().items():
        if name.startswith("on_") and isinstance(method, FunctionType):
            setattr(handler, name, _isolated(name, method, packages, wanted))
    handler.__getattr__ = _unknown


def start_all_handlers(package: str) -> None:
    """Start an asynchronous model call for the program's handlers as if there were no others."""
    module = sys.modules.get(f"{package}.callback_handler")
    own_class = getattr(module, "TraceloopCallbackHandler", None)
    manager: Any = sys.modules.get("langchain_core.callbacks.manager")
    managers = getattr(manager, "AsyncCallbackManager", None)
    if own_class is None or managers is None:
        return
    start = managers.on_llm_start

    @functools.wraps(start)
    async def on_llm_start(
        self: Any, serialized: Any, prompts: Any, run_id: Any = None, **kwargs: Any
    ) -> list[Any]:
        own = [handler for handler in self.handlers if isinstance(handler, own_class)]
        others = [handler for handler in self.handlers if not isinstance(handler, own_class)]
        if not own or not others:
            return await start(self, serialized, prompts, run_id, **kwargs)  # type: ignore[no-any-return]
        without = copy.copy(self)
        without.handlers = others
        runs: list[Any] = await start(without, serialized, prompts, run_id, **kwargs)
        for run, prompt in zip(runs, prompts, strict=False):
            run.handlers = self.handlers
            with fail_safe("langchain"):
                await manager.ahandle_event(
                    own, "on_llm_start", "ignore_llm", serialized, [prompt],
                    run_id=run.run_id, parent_run_id=self.parent_run_id, tags=self.tags,
                    metadata=self.metadata, **kwargs,
                )  # fmt: skip
        return runs

    managers.on_llm_start = on_llm_start


def _isolated(
    name: str, method: Callable[..., Any], packages: tuple[str, ...], wanted: Callable[[], Any]
) -> Callable[..., Any]:
    at = 1 if name.endswith(_STARTS) else 0
    has_content = not name.endswith("_error") and name != "on_llm_end"

    @functools.wraps(method)
    def event(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            record = bool(wanted())

            def of(value: Any, content: bool) -> Any:
                if content and not record:
                    return Unread()
                return value if issubclass(type(value), BaseException) else copied(value, packages)

            method(
                self,
                *(of(value, has_content and place == at) for place, value in enumerate(args)),
                **{key: of(value, key in _CONTENT) for key, value in kwargs.items()},
            )
        except Exception as error:
            if from_a_signal(error):
                raise
            log_fault(f"langchain {name}", error)
        if name.endswith(_STARTS):
            langchain_runs.started(self, kwargs.get("run_id"))
        else:
            langchain_runs.end(
                self, kwargs.get("run_id"), args[0] if name.endswith("_error") and args else None
            )

    return event


def _unknown(handler: object, name: str) -> Any:
    if name.startswith("on_"):
        return _ignore
    raise AttributeError(f"{type(handler).__name__!r} object has no attribute {name!r}")


def _ignore(*_: object, **__: object) -> None:
    """Do nothing with an event."""


def note_first_tokens(package: str) -> None:
    """Make the handler note when the first token of a model's streamed answer arrives."""
    handler = getattr(sys.modules.get(f"{package}.callback_handler"), "TraceloopCallbackHandler", None)
    if handler is not None:
        handler.on_llm_new_token = _new_token


def _new_token(handler: Any, token: object, *, run_id: object = None, chunk: Any = None, **_: object) -> None:
    with fail_safe("first token"):
        call = handler.spans.get(run_id)
        if call is None or hasattr(call, _ARRIVED):
            return
        if token or _is_made(getattr(chunk, "message", None)):
            setattr(call, _ARRIVED, True)
            arrived([call.span])


def _is_made(message: Any) -> bool:
    """Whether a message without text holds something else of the model: a call of a tool, reasoning."""
    return bool(getattr(message, "tool_call_chunks", None) or getattr(message, "additional_kwargs", None))
