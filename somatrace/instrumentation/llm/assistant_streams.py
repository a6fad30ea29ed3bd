"""Follow the streamed runs of OpenAI's assistants: their events contain the run, and its messages."""

from __future__ import annotations

import contextvars
import functools
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from somatrace.instrumentation.llm.isolation.observed import observe
from somatrace.runtime.fail_safe import fail_safe

#: Where the client's managers of streams hold the request, which they make when they are entered.
_REQUEST: Final = "_AssistantStreamManager__api_request"
_ASYNC_REQUEST: Final = "_AsyncAssistantStreamManager__api_request"
_MESSAGE: Final = "thread.message.completed"


class RunEvents:
    """Follows the events of one stream. `creates`: its request has created the run."""

    def __init__(
        self,
        seen: Callable[[Any, RunEvents], None],
        captures: Callable[[], bool],
        reporting_failure: Callable[[], AbstractContextManager[None]],
        *,
        creates: bool,
    ) -> None:
        self.busy = False
        self.creates = creates
        self.context = contextvars.copy_context()
        self.start_ns = time.time_ns()
        #: The messages of the assistant, where content is recorded.
        self.messages: list[Any] = []
        self._seen = seen
        self._captures = captures
        self._reporting_failure = reporting_failure

    def requesting(self) -> AbstractContextManager[None]:
        """Reports a run that a request of the stream could not create."""
        return self._reporting_failure() if self.creates else nullcontext()

    def item(self, event: Any) -> None:
        """The program has read an event."""
        with fail_safe("assistants"):
            data = getattr(event, "data", None)
            if is_run(data):
                self._seen(data, self)
            elif getattr(event, "event", None) == _MESSAGE and self.context.run(self._captures):
                self.messages.append(data)

    def ended(self, error: BaseException | None = None) -> None:
        """A run may go on after its stream."""

    def entered(self, stream: object) -> None:
        """A stream is its own manager."""


def follow(answer: Any, events: RunEvents) -> None:
    """Let `events` follow a stream, or the one that a manager is going to request."""
    request = getattr(answer, _REQUEST, None)
    if request is not None:
        setattr(answer, _REQUEST, functools.partial(_requested, request, events))
        return
    request = getattr(answer, _ASYNC_REQUEST, None)
    if request is not None:
        setattr(answer, _ASYNC_REQUEST, _Request(request, events))
    elif hasattr(type(answer), "__next__") or hasattr(type(answer), "__anext__"):
        observe(answer, events)


def _requested(request: Callable[[], Any], events: RunEvents) -> Any:
    with events.requesting():
        stream = request()
    return observe(stream, events)


class _Request:
    """The request of an asynchronous manager. Unlike a coroutine, it need not be awaited."""

    def __init__(self, request: Any, events: RunEvents) -> None:
        self._request = request
        self._events = events

    def __await__(self) -> Generator[Any, Any, Any]:
        with self._events.requesting():
            stream = yield from self._request.__await__()
        return observe(stream, self._events)


def is_run(answer: Any) -> bool:
    """Whether an answer is a run and not a stream of its events."""
    return getattr(answer, "object", None) == "thread.run"
