"""Runs of llama-index: values of the program stay unread, and every span ends, also of a cancelled run.

llama-index is not in the development lock: these tests run where it is installed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from somatrace import flush, span
from somatrace.config import Config
from somatrace.testing import capture
from somatrace.tracing import init_tracing

pytest.importorskip("llama_index.core", reason="llama-index is not installed in this environment")
pytest.importorskip("llama_index.llms.openai", reason="its instrumentor needs llama-index-llms-openai")

from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

CONTENT = {"content": "redacted", "reason": "a test"}


class OwnError(Exception):
    """The program's."""

    def complete(self, *_: Any, **__: Any) -> Any:
        raise OwnError


class Waiting(Workflow):
    started: Any

    @step
    async def wait(self, ev: StartEvent) -> StopEvent:
        ev.get("started").set()
        await asyncio.Event().wait()
        return StopEvent()


class Handing(Workflow):
    @step
    async def hand(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.get("value"))


@pytest.fixture(autouse=True)
def _tracing() -> None:
    init_tracing("test", config=Config(target="none", content_policy=lambda _: CONTENT))


def test_values_of_the_program_are_read_by_llama_index_alone() -> None:
    reads = []

    class Own:
        def to_json(self) -> str:
            reads.append("to_json")
            return ""

    async def main() -> Any:
        return await Handing().run(value=Own())

    assert isinstance(asyncio.run(main()), Own)
    assert reads == []


def test_a_cancelled_workflow_ends_its_spans_without_an_error() -> None:
    async def main() -> None:
        started = asyncio.Event()
        with span("own") as own:
            task = asyncio.ensure_future(Waiting().run(started=started))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert trace.get_current_span() is own

    with capture(timeout=60) as seen:
        asyncio.run(main())
        assert flush(60)

    assert {one.name for one in seen.spans} >= {"own", "Waiting.workflow"}
    assert [one.name for one in seen.spans if one.status.status_code is StatusCode.ERROR] == []


def test_a_failing_model_has_a_failed_span_and_raises_its_own_exception() -> None:
    from llama_index.core.instrumentation import get_dispatcher

    class Model:
        @get_dispatcher().span
        def call(self) -> None:
            raise OwnError

    with capture(timeout=60) as seen, span("own") as own, pytest.raises(OwnError):
        try:
            Model().call()
        finally:
            assert trace.get_current_span() is own

    assert [(one.name, one.status.status_code) for one in seen.spans if one.name != "own"] == [
        ("Model.workflow", StatusCode.ERROR)
    ]
