"""A streamed run of an assistant is one span with its tokens, and the program reads the stream as without."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.http_server import PromptHandler
from tests.support.otlp_server import OtlpServer, Received, otlp_server
from tests.support.programs import otlp_env, run_program

pytest.importorskip("openai", reason="openai is not installed in this environment")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TEXT = [{"type": "text", "text": {"value": "hello", "annotations": []}}]
USAGE = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}

PROGRAM = """
    import asyncio, contextlib, json, os, warnings
    import openai
    if os.environ["TRACED"]:
        from somatrace import bind, flush, init_tracing
        init_tracing("assistants")
    else:
        bind = lambda **_: contextlib.nullcontext()
    given = dict(assistant_id="a")
    seen = {}

    class Noted(openai.AssistantEventHandler):
        def __init__(self): super().__init__(); self.texts = []
        def on_text_done(self, text): self.texts.append(text.value)

    def names(stream): return [event.event for event in stream]

    def within(manager):
        with manager as stream:
            return [type(stream).__name__, names(stream)]

    def warnings_of(warned):
        return sorted({str(one.message) for one in warned if "Assistants API" in str(one.message)})

    def tenant(name, work):
        with bind(tenant_id=name), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                found = work()
            except openai.APIError as error:
                found = [type(error).__name__, str(error)]
        seen[name] = [found, warnings_of(warned)]

    runs, threads = openai.OpenAI(max_retries=0).beta.threads.runs, openai.OpenAI(max_retries=0).beta.threads
    def handled(make):
        handler = Noted()
        with make(handler) as stream:
            stream.until_done()
            return [stream is handler, handler.texts, stream.get_final_run().usage.total_tokens]
    def tools():
        first = within(runs.stream(thread_id="t", instructions="act", **given))
        outputs = dict(thread_id="t", tool_outputs=[])
        return [first, within(runs.submit_tool_outputs_stream(run_id="run_act", **outputs))]
    def later_tools():
        first = names(runs.create("t", instructions="act", stream=True, **given))
        outputs = dict(thread_id="t", tool_outputs=[], stream=True)
        return [first, names(runs.submit_tool_outputs("run_act", **outputs))]
    def abandoned():
        with runs.stream(thread_id="t", **given) as stream:
            return next(stream).event
    tenant("created", lambda: names(runs.create("t", stream=True, **given)))
    tenant("raw", lambda: names(runs.with_raw_response.create("t", stream=True, **given).parse()))
    tenant("managed", lambda: within(runs.stream(thread_id="t", **given)))
    tenant("handled", lambda: handled(lambda h: runs.stream(thread_id="t", event_handler=h, **given)))
    older = lambda h: runs.create_and_stream(thread_id="t", event_handler=h, **given)
    tenant("older", lambda: handled(older))
    tenant("with its thread", lambda: within(threads.create_and_run_stream(**given)))
    tenant("tools", tools)
    tenant("later tools", later_tools)
    tenant("abandoned", abandoned)
    tenant("failed", lambda: within(runs.stream(thread_id="t", instructions="fail", **given)))
    tenant("refused", lambda: within(runs.stream(thread_id="t", instructions="refuse", **given)))
    def unused(): runs.stream(thread_id="t", **given)
    tenant("unused", unused)

    async def anames(stream): return [event.event async for event in stream]
    async def awithin(manager):
        async with manager as stream:
            return [type(stream).__name__, await anames(stream)]
    async def asynchronously():
        beta = openai.AsyncOpenAI(max_retries=0).beta
        runs = beta.threads.runs
        async def created(): return await anames(await runs.create("t", stream=True, **given))
        async def tools():
            first = await awithin(runs.stream(thread_id="t", instructions="act", **given))
            outputs = dict(thread_id="t", tool_outputs=[])
            return [first, await awithin(runs.submit_tool_outputs_stream(run_id="run_act", **outputs))]
        works = {
            "created": created, "tools": tools,
            "managed": lambda: awithin(runs.stream(thread_id="t", **given)),
            "with its thread": lambda: awithin(beta.threads.create_and_run_stream(**given)),
            "refused": lambda: awithin(runs.stream(thread_id="t", instructions="refuse", **given)),
        }
        for name, work in works.items():
            with bind(tenant_id="async " + name), warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    found = await work()
                except openai.APIError as error:
                    found = [type(error).__name__, str(error)]
            seen["async " + name] = [found, warnings_of(warned)]
    asyncio.run(asynchronously())
    print(json.dumps(seen))
    if os.environ["TRACED"]:
        assert flush(60)
"""


class Streams(PromptHandler):
    numbers = itertools.count()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        asked = body.get("instructions") or ""
        if asked == "refuse":
            self._send(json.dumps({"error": {"message": "no"}}).encode(), "application/json", 400)
            return
        acts = asked == "act" or self.path.endswith("/submit_tool_outputs")
        run = "run_act" if acts else f"run_{next(self.numbers)}"
        end = "requires_action" if asked == "act" else "failed" if asked == "fail" else "completed"
        message = {
            "id": "m",
            "object": "thread.message",
            "thread_id": "t",
            "role": "assistant",
            "created_at": 1,
        }
        delta = {"content": [{"index": 0, **TEXT[0]}]}
        events: list[tuple[str, Any]] = [
            ("thread.run.in_progress", self._run(run, "in_progress")),
            ("thread.message.created", {**message, "status": "in_progress", "content": []}),
            ("thread.message.delta", {"id": "m", "object": "thread.message.delta", "delta": delta}),
            ("thread.message.completed", {**message, "status": "completed", "content": TEXT}),
            (f"thread.run.{end}", self._run(run, end)),
        ]
        if not self.path.endswith("/submit_tool_outputs"):
            events.insert(0, ("thread.run.created", self._run(run, "queued")))
        lines = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events]
        self._send("".join([*lines, "event: done\ndata: [DONE]\n\n"]).encode(), "text/event-stream", 200)

    def _run(self, run: str, status: str) -> dict[str, Any]:
        return {
            "id": run,
            "object": "thread.run",
            "created_at": 1,
            "assistant_id": "a",
            "thread_id": "t",
            "status": status,
            "usage": USAGE if status == "completed" else None,
            "model": "gpt-4o",
            "instructions": "Answer.",
            "last_error": {"code": "server_error", "message": "away"} if status == "failed" else None,
            "tools": [],
        }

    def _send(self, answer: bytes, kind: str, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Run:
    def __init__(self, otlp: OtlpServer, printed: dict[str, Any], untraced: dict[str, Any]) -> None:
        self.otlp = otlp
        self.printed = printed
        self.untraced = untraced

    def spans(self, tenant: str) -> list[Received]:
        return [one for one in self.otlp.spans if one.attributes.get("tenant_id") == tenant]

    def tokens(self, tenant: str) -> list[int]:
        counts = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return [sum(span.attributes.get(count, 0) for count in counts) for span in self.spans(tenant)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Streams)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with otlp_server() as otlp:
        env = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "OPENAI_API_KEY": "k",
            "SOMATRACE_CONTENT": "redacted",
            "SOMATRACE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        }
        traced, untraced = (
            run_program(PROGRAM, otlp_env(otlp.url, **env, TRACED=mode), timeout=280) for mode in ("yes", "")
        )
        yield Run(otlp, json.loads(traced.stdout), json.loads(untraced.stdout))
    server.shutdown()
    server.server_close()


def test_the_program_reads_the_same_events_and_gets_the_same_warnings(run: Run) -> None:
    assert len(run.untraced) == 17
    assert run.printed == run.untraced


@pytest.mark.parametrize(
    "tenant",
    [
        "created",
        "raw",
        "managed",
        "handled",
        "older",
        "with its thread",
        "tools",
        "later tools",
        "async created",
        "async managed",
        "async with its thread",
        "async tools",
    ],
)
def test_a_streamed_run_is_one_span_with_its_tokens(run: Run, tenant: str) -> None:
    assert run.tokens(tenant) == [11]


def test_it_has_the_texts_of_its_answer_where_content_is_allowed(run: Run) -> None:
    (span,) = run.spans("managed")

    (message,) = json.loads(span.attributes["gen_ai.output.messages"])
    assert message["parts"] == [{"type": "text", "content": "hello"}]
    assert span.attributes["gen_ai.request.model"] == "gpt-4o"


def test_one_that_fails_is_one_failed_span(run: Run) -> None:
    (span,) = run.spans("failed")

    assert (span.status_code, span.attributes["error.type"]) == (2, "server_error")


@pytest.mark.parametrize("tenant", ["refused", "async refused"])
def test_one_that_cannot_be_created_is_one_failed_span(run: Run, tenant: str) -> None:
    (span,) = run.spans(tenant)

    assert (span.status_code, span.attributes["error.type"]) == (2, "BadRequestError")


@pytest.mark.parametrize("tenant", ["abandoned", "unused"])
def test_one_whose_end_the_program_does_not_see_has_no_span(run: Run, tenant: str) -> None:
    assert run.spans(tenant) == []
