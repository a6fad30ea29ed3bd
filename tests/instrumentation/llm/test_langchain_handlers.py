"""The program's own callback handlers of langchain get the events that they get without tracing."""

from __future__ import annotations

import asyncio

import pytest

from somatrace import span
from somatrace.testing import capture

pytest.importorskip("langchain_core", reason="langchain is not installed in this environment")

with capture():
    from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.language_models.fake import FakeListLLM
    from langchain_core.tracers.run_collector import RunCollectorCallbackHandler


class Recording(BaseCallbackHandler):
    def __init__(self) -> None:
        self.started = []
        self.ended = []

    def on_llm_start(self, serialized, prompts, *, run_id, **kwargs):
        self.started.append((run_id, tuple(prompts)))

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.ended.append(run_id)


class RecordingAsync(AsyncCallbackHandler, Recording):
    async def on_llm_start(self, serialized, prompts, *, run_id, **kwargs):
        Recording.on_llm_start(self, serialized, prompts, run_id=run_id)

    async def on_llm_end(self, response, *, run_id, **kwargs):
        Recording.on_llm_end(self, response, run_id=run_id)


class RecordingInline(Recording):
    run_inline = True


async def batch(model, handlers):
    await model.abatch(["a", "b"], config={"callbacks": handlers})


async def invoke_twice(model, handlers):
    await model.ainvoke("a", config={"callbacks": handlers})
    await model.ainvoke("b", config={"callbacks": handlers})


async def stream_twice(model, handlers):
    for prompt in ("a", "b"):
        async for _ in model.astream(prompt, config={"callbacks": handlers}):
            pass


@pytest.mark.parametrize("call", [batch, invoke_twice, stream_twice])
@pytest.mark.parametrize("handler", [Recording, RecordingAsync, RecordingInline])
def test_handlers_get_each_asynchronous_call_of_a_model(call, handler):
    recording = handler()

    with capture() as seen, span("work"):
        asyncio.run(call(FakeListLLM(responses=["1", "2"]), [recording]))

    assert sorted(prompts for _, prompts in recording.started) == [("a",), ("b",)]
    assert sorted(recording.ended) == sorted(run_id for run_id, _ in recording.started)
    models = [found for found in seen.spans if found.name.startswith("FakeListLLM")]
    assert [found.parent.span_id for found in models] == [seen.named("work").context.span_id] * 2


def test_handlers_beside_an_inline_one_get_what_langchain_gives_them():
    """langchain-core itself starts a call only for the inline handlers, if there are any."""
    inline, other = RecordingInline(), Recording()

    with capture():
        asyncio.run(invoke_twice(FakeListLLM(responses=["1", "2"]), [inline, other]))

    assert len(inline.started) == 2
    assert other.started == []


@pytest.mark.parametrize("model", [FakeListLLM, FakeListChatModel])
def test_a_collector_has_every_run_and_nothing_is_logged(model, caplog):
    collector = RunCollectorCallbackHandler()

    with capture():
        asyncio.run(batch(model(responses=["1", "2"]), [collector]))

    assert len(collector.traced_runs) == 2
    assert "Error in" not in caplog.text
