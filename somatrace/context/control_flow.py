"""Exceptions that steer a program and are no failures: cancellations, interrupts, skips, ends of iterations.

They are recognized by the names of their classes and base classes, so no library is imported for it.
"""

from __future__ import annotations

from typing import Final

from somatrace.runtime.type_names import class_names

#: By class: the outcome of a span that such an exception leaves.
_OUTCOMES: Final = {
    "GeneratorExit": "abandoned",
    "KeyboardInterrupt": "interrupted",
    "StopAsyncIteration": "exhausted",
    "StopIteration": "exhausted",
    "anyio.EndOfStream": "exhausted",
    "asyncio.exceptions.CancelledError": "cancelled",
    "celery.exceptions.Ignore": "skipped",
    "celery.exceptions.Reject": "rejected",
    "celery.exceptions.Retry": "retried",
    "concurrent.futures._base.CancelledError": "cancelled",
    "greenlet.GreenletExit": "cancelled",
    "langgraph.errors.GraphBubbleUp": "interrupted",
    "langgraph.errors.ParentCommand": "redirected",
    "pydantic_ai.exceptions.ApprovalRequired": "interrupted",
    "pydantic_ai.exceptions.CallDeferred": "interrupted",
    "pydantic_ai.exceptions.SkipModelRequest": "skipped",
    "pydantic_ai.exceptions.SkipToolExecution": "skipped",
    "pydantic_ai.exceptions.SkipToolValidation": "skipped",
    "tenacity.TryAgain": "retried",
    "trio.Cancelled": "cancelled",
    "trio.EndOfChannel": "exhausted",
    "unittest.case.SkipTest": "skipped",
    "websockets.exceptions.ConnectionClosedOK": "exhausted",
    "workflows.runtime.types.results.WaitingForEvent": "interrupted",
}
#: Exceptions that end a program, and the attributes with the exit code.
_EXITS: Final = {"SystemExit": "code", "click.exceptions.Exit": "exit_code"}
#: Members of groups that are read.
_MAX_MEMBERS: Final = 64
_members: Final = BaseExceptionGroup.__dict__["exceptions"].__get__


def outcome_of(error: BaseException | None) -> str:
    """The outcome that a control-flow exception gives to a span; "" for a failure or no exception."""
    if error is None:
        return ""
    if issubclass(type(error), BaseExceptionGroup):
        return _outcome_of_group(error)
    for name in class_names(error):
        outcome = _OUTCOMES.get(name)
        if outcome is not None:
            return outcome
        if name in _EXITS:
            return "" if getattr(error, _EXITS[name], None) else "exited"
    return ""


def _outcome_of_group(group: BaseException) -> str:
    """The outcome of a group: that of its members if none of them is a failure."""
    first = ""
    waiting, read = list(_members(group)), 0
    while waiting and read < _MAX_MEMBERS:
        member, read = waiting.pop(), read + 1
        if issubclass(type(member), BaseExceptionGroup):
            waiting.extend(_members(member))
            continue
        first = outcome_of(member)
        if not first:
            return ""
    return "" if waiting else first
