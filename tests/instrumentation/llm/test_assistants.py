"""A run of an assistant is one span with its tokens, however often the program lists messages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from somatrace.instrumentation.llm.assistants import Runs
from somatrace.testing import capture
from tests.support.http_server import PromptHandler
from tests.support.otlp_server import OtlpServer, Received, otlp_server
from tests.support.programs import otlp_env, run_program

ASSISTANT = {
    "id": "asst_1",
    "object": "assistant",
    "created_at": 1,
    "model": "gpt-4o",
    "instructions": "Answer.",
}
TEXT = [{"type": "text", "text": {"value": "hello", "annotations": []}}]
IMAGE = {"type": "image_file", "image_file": {"file_id": "file_1"}}
USAGE = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}

PROGRAM = """
    import asyncio, json, sys, warnings
    warnings.simplefilter("ignore")
    import openai
    from somatrace import bind, flush, init_tracing
    init_tracing("assistants")
    loaded = sorted(name for name in sys.modules if name.startswith("openai.resources"))
    client = openai.OpenAI(max_retries=0)
    beta = client.beta
    assistant = beta.assistants.create(model="gpt-4o", instructions="Answer.")

    def run(tenant, **options):
        thread = beta.threads.create()
        with bind(tenant_id=tenant):
            running = beta.threads.runs.create(thread.id, assistant_id=assistant.id, **options)
            assert len(beta.threads.messages.list(thread.id).data) == 2  # the run is not over
            beta.threads.runs.poll(running.id, thread_id=thread.id, poll_interval_ms=1)
            for _ in range(3):
                assert len(beta.threads.messages.list(thread_id=thread.id).data) == 2
        return thread

    for number in range(300):
        beta.assistants.create(model="gpt-4o", instructions=str(number))
    beta.threads.runs.create_and_stream(thread_id="thread_0", assistant_id=assistant.id)
    thread = run("thrice")
    run("expired", instructions="expire")
    with bind(tenant_id="again"):
        running = beta.threads.runs.create_and_poll(
            thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1)
        beta.threads.messages.list(thread.id)
    with bind(tenant_id="replaced"):
        for _ in range(2):
            beta.threads.runs.create_and_poll(
                thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1)
    with bind(tenant_id="listing"):
        beta.threads.messages.list(thread.id)
    with bind(tenant_id="shaky"):
        thread = beta.threads.create()
        running = beta.threads.runs.create(thread.id, assistant_id=assistant.id, instructions="shake")
        for _ in range(4):
            try:
                beta.threads.runs.retrieve(running.id, thread_id=thread.id)
            except openai.InternalServerError:
                pass
        beta.threads.messages.list(thread.id)
    with bind(tenant_id="refused"):
        try:
            beta.threads.runs.create(thread.id, assistant_id=assistant.id, instructions="refuse")
        except openai.BadRequestError:
            pass
        beta.threads.messages.list(thread.id)
    with bind(tenant_id="unlisted"):
        for _ in range(300):
            beta.threads.runs.create(beta.threads.create().id, assistant_id=assistant.id)
    with bind(tenant_id="in one request"):
        running = beta.threads.create_and_run_poll(assistant_id=assistant.id, poll_interval_ms=1)
        beta.threads.messages.list(running.thread_id)

    async def asynchronously():
        beta = openai.AsyncOpenAI(max_retries=0).beta
        thread = await beta.threads.create()
        with bind(tenant_id="async thrice"):
            running = await beta.threads.runs.create(thread.id, assistant_id=assistant.id)
            assert len((await beta.threads.messages.list(thread.id)).data) == 2  # the run is not over
            await beta.threads.runs.poll(running.id, thread_id=thread.id, poll_interval_ms=1)
        with bind(tenant_id="async listing"):
            assert len([message async for message in beta.threads.messages.list(thread_id=thread.id)]) == 2
            for _ in range(2):
                assert len((await beta.threads.messages.list(thread.id)).data) == 2
        with bind(tenant_id="async again"):
            await beta.threads.runs.create_and_poll(
                thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1)
            answer = await beta.threads.messages.with_raw_response.list(thread.id)
            assert len(answer.parse().data) == 2
        with bind(tenant_id="async in one request"):
            running = await beta.threads.create_and_run_poll(
                assistant_id=assistant.id, poll_interval_ms=1)
            await beta.threads.messages.list(running.thread_id)
        with bind(tenant_id="async refused"):
            try:
                await beta.threads.runs.create(thread.id, assistant_id=assistant.id, instructions="refuse")
            except openai.BadRequestError:
                pass
            try:
                beta.threads.runs.create(thread.id)  # raises before it is awaited
            except TypeError:
                pass

        async def one(number):
            with bind(tenant_id=f"task {number}"):
                thread = await beta.threads.create()
                await beta.threads.runs.create_and_poll(
                    thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1)
                await beta.threads.messages.list(thread.id)
        await asyncio.gather(*(one(number) for number in range(5)))
    asyncio.run(asynchronously())

    import gc
    from opentelemetry.instrumentation.openai.v1 import assistant_wrappers
    from somatrace.instrumentation.llm.assistants import Run
    gc.collect()
    print(json.dumps({"runs": sum(type(one) is Run for one in gc.get_objects()),
                      "kept": len(assistant_wrappers.runs),
                       "assistants": len(assistant_wrappers.assistants), "loaded": loaded}))
    assert flush(60)
"""


class Assistants(PromptHandler):
    """Runs are over at the third question."""

    asked: ClassVar[dict[str, int]] = {}
    wanted: ClassVar[dict[str, str]] = {}
    numbers = iter(range(10**6))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if self.path.endswith("/assistants"):
            self._answer({**ASSISTANT, "id": f"asst_{next(self.numbers)}"})
        elif self.path.endswith("/threads"):
            self._answer({"id": f"thread_{next(self.numbers)}", "object": "thread", "created_at": 1})
        elif self.path.endswith("/threads/runs"):
            run = f"run_{next(self.numbers)}"
            self.wanted[run] = ""
            self._answer({**self._run(run), "thread_id": f"thread_{next(self.numbers)}"})
        elif body.get("instructions") == "refuse":
            self._answer({"error": {"message": "no"}}, 400)
        else:
            run = f"run_{next(self.numbers)}"
            self.wanted[run] = body.get("instructions") or ""
            self._answer(self._run(run))

    def do_GET(self) -> None:
        if self.path.partition("?")[0].endswith("/messages"):
            messages = [self._message(role) for role in ("user", "assistant")]
            self._answer({"object": "list", "data": messages, "has_more": False})
            return
        run = self.path.rpartition("/")[2]
        self.asked[run] = self.asked.get(run, 0) + 1
        if self.wanted[run] == "shake" and self.asked[run] == 2:
            self._answer({"error": {"message": "away"}}, 500)
        else:
            self._answer(self._run(run))

    def _run(self, run: str) -> dict[str, Any]:
        over = self.asked.get(run, 0) > 2
        expires = self.wanted[run] == "expire"
        return {
            "id": run,
            "object": "thread.run",
            "created_at": 1,
            "assistant_id": "asst_1",
            "thread_id": self.path.split("/")[3],
            "status": ("expired" if expires else "completed") if over else "in_progress",
            "usage": USAGE if over and not expires else None,
            "model": "gpt-4o",
            "instructions": "",
            "tools": [],
        }

    def _message(self, role: str) -> dict[str, Any]:
        names = {"id": f"msg_{role}", "object": "thread.message", "thread_id": "t", "role": role}
        return {**names, "created_at": 1, "content": TEXT if role == "user" else [IMAGE, *TEXT]}

    def _answer(self, answer: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Run:
    def __init__(self, otlp: OtlpServer, printed: dict[str, Any]) -> None:
        self.otlp = otlp
        self.printed = printed

    def spans(self, tenant: str) -> list[Received]:
        return [
            span
            for span in self.otlp.spans
            if span.name == "openai.assistant.run" and span.attributes["tenant_id"] == tenant
        ]

    def tokens(self, tenant: str) -> list[int]:
        counts = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
        return [sum(span.attributes.get(count, 0) for count in counts) for span in self.spans(tenant)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Assistants)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with otlp_server() as otlp:
        env = {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "OPENAI_API_KEY": "k",
            "SOMATRACE_CONTENT": "redacted",
            "SOMATRACE_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        }
        done = run_program(PROGRAM, otlp_env(otlp.url, **env), timeout=280)
        yield Run(otlp, json.loads(done.stdout))
    server.shutdown()
    server.server_close()


@pytest.mark.slow
class TestARun:
    def test_is_one_span_however_often_messages_are_listed(self, run: Run) -> None:
        assert run.tokens("thrice") == [11]

    def test_has_the_model_of_its_assistant(self, run: Run) -> None:
        (span,) = run.spans("thrice")

        assert span.attributes["gen_ai.request.model"] == "gpt-4o"

    def test_has_the_texts_of_its_thread_where_content_is_allowed(self, run: Run) -> None:
        (span,) = run.spans("thrice")

        assert json.loads(span.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == "hello"

    def test_that_ends_without_usage_is_one_span_without_tokens(self, run: Run) -> None:
        assert run.tokens("expired") == [0]

    def test_in_the_same_thread_is_another_span(self, run: Run) -> None:
        assert run.tokens("again") == [11]

    def test_whose_messages_are_not_listed_is_reported_at_the_next_run_of_its_thread(self, run: Run) -> None:
        assert run.tokens("replaced") == [11, 11]

    def test_belongs_to_the_tenant_that_created_it(self, run: Run) -> None:
        assert run.spans("listing") == []

    def test_whose_state_could_once_not_be_read_has_not_failed(self, run: Run) -> None:
        assert run.tokens("shaky") == [11]
        assert [span.status_code for span in run.spans("shaky")] == [0]

    def test_that_cannot_be_created_is_one_failed_span(self, run: Run) -> None:
        (span,) = run.spans("refused")

        assert span.status_code == 2
        assert span.attributes["error.type"] == "BadRequestError"

    def test_keeps_state_only_until_it_is_reported_or_among_the_newest(self, run: Run) -> None:
        # the five tasks at the end may each have taken the place of an older run, and given it back
        assert 256 - 5 <= run.printed["runs"] <= 256
        assert (run.printed["kept"], run.printed["assistants"]) == (0, 256)

    def test_that_is_created_with_its_thread_is_one_span(self, run: Run) -> None:
        assert run.tokens("in one request") == [11]


@pytest.mark.slow
class TestARunOfTheAsynchronousClient:
    def test_is_one_span_however_often_messages_are_listed(self, run: Run) -> None:
        assert run.tokens("async thrice") == [11]

    def test_belongs_to_the_tenant_that_created_it(self, run: Run) -> None:
        assert run.spans("async listing") == []

    def test_has_the_texts_of_its_thread_where_content_is_allowed(self, run: Run) -> None:
        (span,) = run.spans("async thrice")

        assert json.loads(span.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == "hello"

    def test_whose_messages_are_listed_as_a_raw_response_is_one_span(self, run: Run) -> None:
        assert run.tokens("async again") == [11]

    def test_that_is_created_with_its_thread_is_one_span(self, run: Run) -> None:
        assert run.tokens("async in one request") == [11]

    def test_that_cannot_be_created_is_one_failed_span(self, run: Run) -> None:
        (span,) = run.spans("async refused")

        assert span.status_code == 2
        assert span.attributes["error.type"] == "BadRequestError"

    def test_belongs_to_its_task(self, run: Run) -> None:
        assert [run.tokens(f"task {number}") for number in range(5)] == [[11]] * 5


@pytest.mark.slow
def test_resources_of_the_client_are_loaded_at_their_first_use(run: Run) -> None:
    assert run.printed["loaded"] == []


class TestARunWithoutContent:
    def test_is_reported_when_it_is_over_without_its_messages(self) -> None:
        usage = SimpleNamespace(prompt_tokens=7, completion_tokens=4, total_tokens=11)
        given = {"object": "thread.run", "id": "run_1", "thread_id": "t", "model": "gpt-4o", "usage": usage}
        states = [SimpleNamespace(**given, status=status) for status in ("queued", "completed", "completed")]
        runs = Runs("opentelemetry.instrumentation.openai.v1", lambda: False)

        with capture() as seen:
            runs.creating(lambda: states[0], None, (), {})
            for state in states:
                runs.retrieving(lambda state=state: state, None, (), {})
            runs.listing(lambda thread_id: SimpleNamespace(data=[]), None, (), {"thread_id": "t"})

        (span,) = seen.spans
        assert (span.attributes or {})["gen_ai.usage.input_tokens"] == 7
