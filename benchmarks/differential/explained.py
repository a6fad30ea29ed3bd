"""Differences that are meant, each with its reason, and tests that are flaky without tracing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks.differential.outcomes import Difference


@dataclass(frozen=True)
class Explained:
    """Tests of a suite that may differ, in these modes and with `text` in their failure. `test` may have
    wildcards."""

    suite: str
    test: str
    reason: str
    modes: tuple[str, ...] = ("none", "full")
    text: str = ""


EXPLAINED: tuple[Explained, ...] = (
    *(
        Explained(
            "anthropic",
            f"tests/{module}.py::*",
            "tests anthropic's own spans, which are off beside the instrumentor's, and trace headers, which "
            "no model server gets; some expect that no span is around the test",
        )
        for module in ("test_open_telemetry", "test_tracing", "lib/tools/test_open_telemetry")
    ),
    Explained(
        "celery",
        "t/unit/*",
        "compares the threads after the test with those at the start; after a fork somatrace has a new one",
        text="somatrace-worker",
    ),
    Explained(
        "httpx",
        "tests/test_main.py::test_auth",
        "compares all headers that are sent to a host on loopback, which gets `traceparent` too",
    ),
    Explained(
        "httpx",
        "tests/test_main.py::test_verbose",
        "compares all headers that are sent to a host on loopback, which gets `traceparent` too",
    ),
    Explained(
        "langchain-core",
        "tests/unit_tests/callbacks/test_sync_callback_manager.py::test_merge_preserves_handler_distinction",
        "compares all handlers of a callback manager, among which is the instrumentor's",
        text="TraceloopCallbackHandler",
    ),
    Explained(
        "langchain-core",
        "tests/unit_tests/runnables/test_config.py::test_merge_config_callbacks",
        "counts the handlers of a callback manager, among which is the instrumentor's",
        text="3 = len([",
    ),
    Explained(
        "mcp",
        "tests/client/test_stdio.py::test_stdio_client",
        "compares a request to a child process, which gets the trace in `_meta` too",
    ),
    Explained(
        "starlette",
        "tests/middleware/test_base.py::test_multiple_middlewares_stacked_client_disconnected[*]",
        "compares all headers of a response, which has `x-correlation-id` too",
        text="x-correlation-id",
    ),
    Explained(
        "starlette",
        "tests/middleware/test_opentelemetry.py::test_explicit_*",
        "expects no span of the global provider beside that of the middleware's own; somatrace makes one",
        text="exporter.get_finished_spans() == ()",
    ),
    Explained(
        "starlette",
        "tests/middleware/test_opentelemetry.py::test_non_http_scopes_are_not_traced",
        "expects no span of a websocket, which Starlette's middleware does not trace; somatrace does",
        text="exporter.get_finished_spans() == ()",
    ),
)

#: tests, with wildcards, that have failed without tracing too, but too rarely for two runs to show it: they
#: measure time. langgraph's expects that two tasks are 10 ms apart: of 72 repetitions without tracing on a
#: busy machine 9 failed. anyio's expects that a new thread takes its work before the test cancels it: on a
#: busy machine 1 of 160 repetitions failed without tracing, and 4 of 60 with. openai's start a program that
#: must end within 15 s: on a busy machine 4 of 4 failed without tracing. mcp's expects that a message is
#: written before the process that is to read it has ended: on a busy machine 4 of 4 runs failed without
#: tracing, later none of 8, and 1 of 8 with.
FLAKY: dict[str, tuple[str, ...]] = {
    "anyio": ("tests/test_from_thread.py::test_thread_cancelled_and_abandoned[*",),
    "langgraph": ("tests/test_pregel_async.py::test_imp_nested[*",),
    "openai": ("tests/test_mtls_http_client.py::test_mtls_example_presents_full_client_chain[*",),
    "mcp": ("tests/client/test_stdio.py::test_stdio_client_bad_path",),
    "langchain-core": ("tests/unit_tests/language_models/chat_models/test_rate_limiting.py::*",),
}


def explanation(suite: str, difference: Difference, table: tuple[Explained, ...] = EXPLAINED) -> str | None:
    """The reason why the test may differ, if it may."""
    rows = (row for row in table if row.suite == suite and difference.mode in row.modes)
    for row in rows:
        if row.text in difference.text and _fits(difference.test, row.test):
            return row.reason
    return None


def flaky_by_name(suite: str, tests: Iterable[str]) -> set[str]:
    """Those of the suite's tests that `FLAKY` names."""
    return {test for test in tests if any(_fits(test, pattern) for pattern in FLAKY.get(suite, ()))}


def _fits(test: str, pattern: str) -> bool:
    return fnmatchcase(test, pattern.replace("[", "[[]"))  # the brackets of parameters are no wildcard
