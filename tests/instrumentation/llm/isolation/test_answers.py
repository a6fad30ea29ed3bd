"""An answer under tracing equals the client's own on every way of using it.

A program takes the same random steps on the answers of a client without tracing, with it and with content,
and notes what each step gave.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from threading import Thread

import pytest

from tests.support.http_server import PromptHandler
from tests.support.llm_server import llm_server
from tests.support.programs import run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PRELUDE = """
import asyncio, collections, copy, gc, inspect, io, json, os, pickle, random, types
MODE = os.environ["MODE"]
spans = []
gc.disable()  # a stream that is collected inside httpx waits for the lock of its own pool
if MODE != "off":
    import somatrace
    from somatrace.config import Config
    from somatrace.guard.policy import callable_source
    callable_source.LIMIT = 60.0  # a busy machine takes long to ask
    grant = {"content": "redacted", "reason": "a test"} if MODE == "content" else None
    def policy(tenant): return grant
    somatrace.init_tracing("svc", config=Config(target="none", content_policy=policy))
    somatrace.bind(tenant_id="acme").__enter__()
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor
    class Counts(SpanProcessor):
        def on_start(self, span, parent_context=None): spans.append(span)
    trace.get_tracer_provider().add_span_processor(Counts())

MESSAGES = [{"role": "user", "content": "hello"}]
chance, log = random.Random(7), []

def shown(value):
    if isinstance(value, (str, bytes, int, float, bool, type(None))): return repr(value)
    if isinstance(value, (list, tuple, set)): return [shown(item) for item in value]
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        fields = {k: v for k, v in dump().items() if k not in ("id", "created")}
        return type(value).__name__ + " " + repr(fields)
    if isinstance(value, dict): return {str(k): shown(v) for k, v in value.items()}
    return "a " + type(value).__module__ + "." + type(value).__qualname__

def kinds(answer):
    mro = [base.__qualname__ for base in type(answer).__mro__]
    abstract = [kind.__name__ for kind in (
        collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator,
        collections.abc.AsyncIterator, collections.abc.AsyncIterable, collections.abc.AsyncGenerator,
        collections.abc.Awaitable, io.IOBase,
    ) if isinstance(answer, kind)]
    return [mro, abstract, inspect.isgenerator(answer), inspect.isasyncgen(answer)]

def public(answer):
    return sorted(name for name in dir(answer) if not name.startswith("__"))

def attributes(answer):
    return sorted(vars(answer)) if hasattr(answer, "__dict__") else None

def pickled(answer):
    return len(pickle.dumps(answer)) > 0

def copied(answer):
    twin = copy.copy(answer)
    return [type(twin).__qualname__, sorted(vars(twin)) if hasattr(twin, "__dict__") else None]

def within(answer):
    with answer as inner:
        return [shown(inner), inner is answer]

PASSIVE = [kinds, public, attributes, copied, pickled, repr_ := (lambda a: repr(a).partition(" at 0x")[0])]
READING = {
    "next": lambda a: next(a),
    "iter": lambda a: next(iter(a)),
    "rest": lambda a: list(a),
    "break": lambda a: [item for item, _ in zip(a, range(1))],
    "with": within,
    "close": lambda a: a.close(),
    "missing": lambda a: a.no_such_attribute,
    "truth": lambda a: bool(a),
    "self": lambda a: iter(a) is a,
}

async def anext_(a): return await a.__anext__()
async def arest(a): return [item async for item in a]
async def abreak(a):
    async for item in a: return item
async def awithin(a):
    async with a as inner: return [shown(inner), inner is a]
async def aclose(a):
    return await (a.aclose() if hasattr(a, "aclose") else a.close())

AREADING = {"anext": anext_, "arest": arest, "abreak": abreak, "awith": awithin, "aclose": aclose}

def settle():
    "Leave what the libraries have made out of every later collection, which else takes most of the time."
    if not log:
        gc.collect()
        gc.freeze()

def note(name, step, outcome, error):
    if error is not None:
        context = type(error.__context__).__name__
        log.append([name, step, type(error).__name__, str(error).partition(" at 0x")[0], context])
    else:
        log.append([name, step, outcome])

def drive(name, make, more={}, rounds=10):
    settle()
    for _ in range(rounds):
        answer = make()
        steps = {**READING, **more}
        for step in [chance.choice(PASSIVE)] + chance.choices(sorted(steps), k=4) + [chance.choice(PASSIVE)]:
            try:
                outcome = shown((steps[step] if isinstance(step, str) else step)(answer))
                note(name, str(getattr(step, "__name__", step)), outcome, None)
            except Exception as error:
                note(name, str(getattr(step, "__name__", step)), None, error)
        del answer
        gc.collect()

async def adrive(name, make, more={}, rounds=10):
    settle()
    for _ in range(rounds):
        answer = make()
        if inspect.isawaitable(answer): answer = await answer
        steps = {**AREADING, **more}
        for step in [chance.choice(PASSIVE)] + chance.choices(sorted(steps), k=4) + [chance.choice(PASSIVE)]:
            try:
                outcome = (steps[step] if isinstance(step, str) else step)(answer)
                if inspect.isawaitable(outcome): outcome = await outcome
                note(name, str(getattr(step, "__name__", step)), shown(outcome), None)
            except Exception as error:
                note(name, str(getattr(step, "__name__", step)), None, error)
        del answer
        gc.collect()
async def main(): pass
"""
EPILOGUE = """
asyncio.run(main())
gc.collect()
print(json.dumps({"log": log, "started": len(spans),
                  "open": sorted(s.name for s in spans if s.is_recording())}))
"""
CLIENTS = {
    "openai": """
import openai
o, oa = openai.OpenAI(max_retries=0), openai.AsyncOpenAI(max_retries=0)
call = dict(model="m", messages=MESSAGES)
raw = {"parse": lambda a: a.parse(), "text": lambda a: a.text, "content": lambda a: a.content,
       "headers": lambda a: dict(a.headers)["content-type"], "lines": lambda a: list(a.iter_lines()),
       "read": lambda a: a.http_response.read()}
response = {"status": lambda a: a.response.status_code, "closed": lambda a: a.response.is_closed}
drive("stream", lambda: o.chat.completions.create(**call, stream=True), response)
drive("responses", lambda: o.responses.create(model="m", input="x", stream=True), response)
drive("raw", lambda: o.chat.completions.with_raw_response.create(**call), raw, 6)
drive("raw stream", lambda: o.chat.completions.with_raw_response.create(**call, stream=True), raw, 6)
drive("answer", lambda: o.chat.completions.create(**call), {"usage": lambda a: a.usage}, 6)
streaming = {**raw, "read": lambda a: a.read(),
             "bytes": lambda a: list(a.iter_bytes(7)), "json": lambda a: a.json(),
             "consumed": lambda a: a.http_response.is_stream_consumed}
def streamed(name, make):
    for _ in range(6):
        with make() as answer:
            drive(name, lambda: answer, streaming, 1)
streamed("streaming", lambda: o.chat.completions.with_streaming_response.create(**call))
streamed("streaming stream", lambda: o.chat.completions.with_streaming_response.create(**call, stream=True))
async def main():
    await adrive("async stream", lambda: oa.chat.completions.create(**call, stream=True), response)
    await adrive("async responses", lambda: oa.responses.create(model="m", input="x", stream=True), response)
    await adrive("async raw", lambda: oa.chat.completions.with_raw_response.create(**call), raw, 6)
    for _ in range(6):
        async with oa.chat.completions.with_streaming_response.create(**call) as answer:
            async def made(): return answer
            await adrive("async streaming", made, {
                "parse": lambda a: a.parse(), "read": lambda a: a.read(),
                "consumed": lambda a: a.http_response.is_stream_consumed}, 1)
""",
    "anthropic": """
import anthropic
a, aa = anthropic.Anthropic(max_retries=0), anthropic.AsyncAnthropic(max_retries=0)
call = dict(model="m", max_tokens=5, messages=MESSAGES)
helpers = {
    "final": lambda s: s.get_final_message(), "text": lambda s: list(s.text_stream),
    "done": lambda s: s.until_done(), "final text": lambda s: s.get_final_text(),
    "snapshot": lambda s: s.current_message_snapshot, "status": lambda s: s.response.status_code,
}
drive("stream", lambda: a.messages.create(**call, stream=True), {"status": lambda s: s.response.status_code})
drive("manager", lambda: a.messages.stream(**call))
for _ in range(10):
    with a.messages.stream(**call) as stream:
        drive("entered", lambda: stream, helpers, 1)
async def texts(s): return [text async for text in s.text_stream]
ahelpers = {**helpers, "text": texts}
async def main():
    await adrive("async stream", lambda: aa.messages.create(**call, stream=True))
    await adrive("async manager", lambda: aa.messages.stream(**call))
    for _ in range(10):
        async with aa.messages.stream(**call) as stream:
            await adrive("async entered", lambda: stream, ahelpers, 1)
    stream = None
stream = None
""",
    "litellm": """
import litellm
litellm.suppress_debug_info = True
call = dict(model="openai/m", messages=MESSAGES, stream=True, max_retries=0)
PASSIVE.remove(repr_)
drive("stream", lambda: litellm.completion(**call), {"chunks": lambda s: len(s.chunks)})
async def main():
    await adrive("async stream", lambda: litellm.acompletion(**call))
""",
    "boto3": """
import boto3
client = boto3.client("bedrock-runtime", endpoint_url=os.environ["BEDROCK"], region_name="us-east-1",
                      aws_access_key_id="a", aws_secret_access_key="b")
body = json.dumps({"messages": MESSAGES, "max_tokens": 5})
invoke = lambda: client.invoke_model(modelId="anthropic.claude-3", body=body)
def loaded(b):
    with b as f: return json.load(f)
def into(b):
    buffer = bytearray(9)
    return [b.readinto(buffer), bytes(buffer)]
reading = {
    "load": loaded, "json": lambda b: json.load(b), "read": lambda b: b.read(), "read 5": lambda b: b.read(5),
    "read 0": lambda b: b.read(0), "into": into, "lines": lambda b: list(b.iter_lines(4)),
    "chunks": lambda b: list(b.iter_chunks(8)),
    "readlines": lambda b: b.readlines(), "tell": lambda b: b.tell(),
    "readable": lambda b: b.readable(), "raw": lambda b: b._raw_stream.headers["content-type"],
    "timeout": lambda b: b.set_socket_timeout(3), "text": lambda b: next(io.TextIOWrapper(b)),
}
PASSIVE.remove(pickled)
drive("body", lambda: invoke()["body"], reading, 60)
drive("answer", lambda: invoke(), {
      "keys": lambda r: sorted(r),
      "status": lambda r: r["ResponseMetadata"]["HTTPStatusCode"],
      "twice": lambda r: [r["body"].read(), r["body"].read()]}, 6)
""",
}


_ANSWER = {
    "content": [{"type": "text", "text": "hello\nthere"}],
    "role": "assistant",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 11, "output_tokens": 7},
}


class _Bedrock(PromptHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps(_ANSWER, indent=1).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The same for every answer, which clients hand on."""
        return "Thu, 01 Jan 2026 00:00:00 GMT"


@contextmanager
def bedrock() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bedrock)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("library", CLIENTS)
def test_every_way_of_using_an_answer_gives_the_same(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed in this environment")
    if library == "boto3" and importlib.util.find_spec("opentelemetry.instrumentation.bedrock") is None:
        pytest.skip("the instrumentor of bedrock is not installed in this environment")
    source = PRELUDE + CLIENTS[library] + EPILOGUE

    def run(mode: str) -> dict[str, object]:
        with llm_server() as llm, bedrock() as url:
            done = run_program(source, {**llm.env, "MODE": mode, "BEDROCK": url}, timeout=400)
            output: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
            return output

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    assert on["log"] == off["log"]
    assert content["log"] == off["log"]
    assert on["started"] == content["started"] != 0
    assert (on["open"], content["open"]) == ([], [])
