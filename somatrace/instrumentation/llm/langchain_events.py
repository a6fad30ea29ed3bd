"""Let langchain's callback handler take every event that a library sends to handlers, and take none away.

The instrumentor adds its handler to all callback managers, also to those of libraries above langchain, whose
events it does not know: langgraph's `on_interrupt` and `on_resume` were logged as errors of the handler.
It is an inline handler. Beside one, `AsyncCallbackManager.on_llm_start` of langchain-core calls no others, so
the program's own handlers lost the asynchronous calls of its (completion) models.
"""

from __future__ import annotations

import copy
import functools
import sys
from typing import Any

from somatrace.runtime.fail_safe import fail_safe


def take_unknown_events(package: str) -> None:
    """Make the handler of the instrumentor ignore events without a method of its own."""
    module = sys.modules.get(f"{package}.callback_handler")
    handler = getattr(module, "TraceloopCallbackHandler", None)
    if handler is not None and not hasattr(handler, "__getattr__"):
        handler.__getattr__ = _event


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


def _event(handler: object, name: str) -> Any:
    if name.startswith("on_"):
        return _ignore
    raise AttributeError(f"{type(handler).__name__!r} object has no attribute {name!r}")


def _ignore(*_: object, **__: object) -> None:
    """Do nothing with an event."""
