"""One span for each run of OpenAI's assistants, with bounded state.

This replaces the instrumentor's own wrappers. They keep each run for the life of the process, make a span of
a thread's last run each time its messages are listed, each with the run's tokens, and raise into the program
for arguments and messages that they do not expect.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from somatrace import semconv
from somatrace.instrumentation.import_hooks import wrap_method
from somatrace.instrumentation.llm.assistant_messages import content
from somatrace.instrumentation.llm.assistant_streams import RunEvents, follow, is_run
from somatrace.runtime.fail_safe import fail_safe
from somatrace.runtime.type_names import type_name

#: Runs that are kept until they are over and their messages are listed, and assistants; beyond it, the oldest
#: leave.
_MOST: Final = 256
_OVER: Final = ("cancelled", "completed", "expired", "failed", "incomplete")
_THREADS: Final = "openai.resources.beta.threads"


def report_runs(package: str, register: Callable[[Callable[[ModuleType], Any], str], None]) -> None:
    """Report the runs of assistants, after the instrumentor `package`.

    The client loads their modules when the program uses them: `register(hook, module)` waits for that.
    """
    wrappers: Any = sys.modules.get(f"{package}.v1.assistant_wrappers")
    if wrappers is not None:
        wrappers.assistants = _Newest()  # kept with their instructions, for streamed runs
    capture = getattr(sys.modules.get(f"{package}.utils"), "should_send_prompts", lambda: False)
    runs = Runs(f"{package}.v1", capture)
    streams = [
        (owner, method, runs.streaming)
        for owner in ("Runs", "AsyncRuns")
        for method in ("create_and_stream", "stream", "submit_tool_outputs_stream")
    ]
    methods: dict[str, list[tuple[str, str, Callable[..., Any]]]] = {
        "runs": [
            ("Runs", "create", runs.creating),
            ("Runs", "retrieve", runs.retrieving),
            ("Runs", "submit_tool_outputs", runs.continuing),
            ("AsyncRuns", "create", runs.creating_async),
            ("AsyncRuns", "retrieve", runs.retrieving_async),
            ("AsyncRuns", "submit_tool_outputs", runs.continuing_async),
            *streams,
        ],
        "messages": [("Messages", "list", runs.listing), ("AsyncMessages", "list", runs.listing_async)],
        "threads": [
            ("Threads", "create_and_run", runs.creating),
            ("AsyncThreads", "create_and_run", runs.creating_async),
            ("Threads", "create_and_run_stream", runs.streaming),
            ("AsyncThreads", "create_and_run_stream", runs.streaming),
        ],
    }
    for module, wrapped in methods.items():
        register(functools.partial(_wrap, wrapped), f"{_THREADS}.{module}")


def _wrap(methods: list[tuple[str, str, Callable[..., Any]]], module: ModuleType) -> None:
    for owner, method, wrapper in methods:
        resource: Any = getattr(module, owner, None)
        if hasattr(resource, method):
            setattr(resource, method, _plain(getattr(resource, method)))
            wrap_method(resource, method, wrapper)


class _Newest(dict[Any, Any]):
    """A dict of the newest entries."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        while len(self) > _MOST:
            self.pop(next(iter(self)), None)


class Run:
    """One run, and the context in which it was created: its span belongs there."""

    def __init__(self, created: Any, events: RunEvents | None = None) -> None:
        self.id: str = created.id
        self.context = contextvars.copy_context() if events is None else events.context
        self.start_ns = time.time_ns() if events is None else events.start_ns
        self.end_ns: int | None = None
        #: The state of the run as it was last seen.
        self.seen = created


class Runs:
    """The runs that are not reported yet, by thread. A thread has one at a time."""

    def __init__(self, scope: str, capture: Callable[[], bool]) -> None:
        self._scope = scope
        self._capture = capture
        self._runs: dict[str, Run] = {}

    def creating(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        events = self._events(creates=True)
        with self._reporting_failure():
            answer = call(*args, **kwargs)
        self._created(answer, events)
        return answer

    def creating_async(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        """A plain function, as the client's own: it raises at once if an argument is missing."""
        answer = call(*args, **kwargs)
        return self._creating(answer) if inspect.iscoroutine(answer) else answer

    async def _creating(self, coroutine: Any) -> Any:
        events = self._events(creates=True)
        with self._reporting_failure():
            answer = await coroutine
        self._created(answer, events)
        return answer

    def streaming(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        """The client requests the stream when its manager is entered."""
        manager = call(*args, **kwargs)
        with fail_safe("assistants"):
            follow(manager, self._events(creates="run_id" not in kwargs))
        return manager

    def continuing(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        answer = call(*args, **kwargs)
        with fail_safe("assistants"):
            follow(_parsed(answer), self._events(creates=False))
        return answer

    async def continuing_async(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        answer = await call(*args, **kwargs)
        with fail_safe("assistants"):
            follow(_parsed(answer), self._events(creates=False))
        return answer

    def retrieving(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        answer = call(*args, **kwargs)
        self._seen(answer)
        return answer

    async def retrieving_async(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        answer = await call(*args, **kwargs)
        self._seen(answer)
        return answer

    def listing(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        answer = call(*args, **kwargs)
        with fail_safe("assistants"):
            self._listed(args[0] if args else kwargs["thread_id"], answer)
        return answer

    def listing_async(self, call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        """The answer requests its page when it is awaited or iterated."""
        answer = call(*args, **kwargs)
        with fail_safe("assistants"):
            thread, request = args[0] if args else kwargs["thread_id"], answer._get_page

            async def page() -> Any:
                messages = await request()
                with fail_safe("assistants"):
                    self._listed(thread, messages)
                return messages

            answer._get_page = page
        return answer

    def _created(self, answer: Any, events: RunEvents) -> None:
        with fail_safe("assistants"):
            run = _parsed(answer)
            if is_run(run):
                self._keep(run.thread_id, Run(run))
            else:
                follow(run, events)

    def _events(self, *, creates: bool) -> RunEvents:
        return RunEvents(self._streamed, self._capture, self._reporting_failure, creates=creates)

    def _streamed(self, seen: Any, events: RunEvents) -> None:
        """A stream has given the state of its run. It has the run's messages, too."""
        run = self._runs.get(seen.thread_id)
        if run is None or run.id != seen.id:
            if not events.creates:
                return
            run = Run(seen, events)
            self._keep(seen.thread_id, run)
        run.seen = seen
        if seen.status in _OVER:
            run.end_ns = time.time_ns()
            events.creates = False
            self._runs.pop(seen.thread_id, None)
            self._report(run, events.messages)

    def _seen(self, answer: Any) -> None:
        with fail_safe("assistants"):
            seen = _parsed(answer)
            run = self._runs.get(seen.thread_id) if is_run(seen) else None
            if run is not None and run.id == seen.id:
                run.seen = seen
                if seen.status in _OVER and run.end_ns is None:
                    run.end_ns = time.time_ns()
                    if not run.context.run(self._capture):  # no need to wait for its messages
                        self._runs.pop(seen.thread_id, None)
                        self._report(run)

    def _listed(self, thread: str, messages: Any) -> None:
        run = self._runs.get(thread)
        if run is not None and run.end_ns is not None:
            run = self._runs.pop(thread, None)  # only one of several calls gets it
            if run is not None:
                self._report(run, getattr(_parsed(messages), "data", ()))

    def _keep(self, thread: str, run: Run) -> None:
        before = self._runs.pop(thread, None)
        self._runs[thread] = run
        leaving = [] if before is None else [before]
        while len(self._runs) > _MOST:
            leaving.append(self._runs.pop(next(iter(self._runs))))
        for one in leaving:
            if one.end_ns is not None:
                self._report(one)

    def _report(self, run: Run, messages: Any = ()) -> None:
        run.context.run(self._report_here, run, messages)

    def _report_here(self, run: Run, messages: Any) -> None:
        usage = run.seen.usage
        attributes = {
            semconv.PROVIDER: "openai",
            semconv.REQUEST_MODEL: run.seen.model,
            semconv.RESPONSE_MODEL: run.seen.model,
            semconv.RESPONSE_ID: run.id,
            semconv.INPUT_TOKENS: getattr(usage, "prompt_tokens", None),
            semconv.OUTPUT_TOKENS: getattr(usage, "completion_tokens", None),
            semconv.TOTAL_TOKENS: getattr(usage, "total_tokens", None),
            **(content(run.seen.instructions, messages) if self._capture() else {}),
        }
        span = self._start(run.start_ns)
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})
        if run.seen.status == "failed":
            span.set_attribute(semconv.ERROR_TYPE, str(getattr(run.seen.last_error, "code", "failed")))
            span.set_status(StatusCode.ERROR)
        span.end(run.end_ns)

    @contextmanager
    def _reporting_failure(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            with fail_safe("assistants"):
                self._report_failure(error)
            raise

    def _report_failure(self, error: Exception) -> None:
        """Report a run that could not be created."""
        span = self._start(None)
        span.record_exception(error)
        span.set_attribute(semconv.ERROR_TYPE, type_name(error))
        span.set_status(Status(StatusCode.ERROR, str(error)))
        span.end()

    def _start(self, start_ns: int | None) -> trace.Span:
        return trace.get_tracer(self._scope).start_span(
            "openai.assistant.run",
            kind=SpanKind.CLIENT,
            attributes={semconv.OPERATION: "chat"},
            start_time=start_ns,
        )


def _parsed(answer: Any) -> Any:
    """The parsed object of an answer; a raw answer is parsed first."""
    return answer.parse() if type(answer).__name__ == "LegacyAPIResponse" else answer


def _plain(method: Any) -> Any:
    """The client's own method, below the instrumentor's wrapper. Its decorators have a `__wrapped__`, too."""
    import wrapt

    is_wrapper = isinstance(method, (wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper))
    return method.__wrapped__ if is_wrapper else method
