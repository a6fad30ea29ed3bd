"""A program reads the streams of gateways in the same way with and without tracing."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.gateways import MODELS, gateway
from tests.support.programs import run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PRELUDE = """
import asyncio, json, os, sys, traceback
URL, MODE, MODELS = os.environ["GATEWAY"], os.environ["MODE"], json.loads(os.environ["MODELS"])
seen, spans = {}, []
MESSAGES = [{"role": "user", "content": "hello"}]
chat = lambda model: dict(model=model, messages=MESSAGES, stream=True)

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

def shown(item):
    dump = getattr(item, "model_dump", None)
    value = dump() if dump else item
    if isinstance(value, dict):  # litellm dates its chunks
        value = {k: v for k, v in value.items() if k not in ("created", "id")}
    return type(item).__name__ + " " + repr(value)

def reading(name, model, make, items, error):
    seen[f"{name} {model}"] = {
        "stream": make, "items": items,
        "error": error and [type(error).__name__, str(error), type(error.__context__).__name__,
                            [f.name for f in traceback.extract_tb(error.__traceback__)][-2:]],
    }

def sync(name, make):
    for model in MODELS:
        items, error, kind = [], None, None
        try:
            stream = make(model)
            kind = type(stream).__module__ + "." + type(stream).__qualname__
            if hasattr(stream, "__next__") or hasattr(stream, "__iter__"):
                for item in stream: items.append(shown(item))
            else:
                with stream as inner:
                    for item in inner: items.append(shown(item))
        except Exception as failure:
            error = failure
        reading(name, model, kind, items, error)

async def asynchronous(name, make):
    for model in MODELS:
        items, error, kind = [], None, None
        try:
            stream = make(model)
            if hasattr(stream, "__await__"): stream = await stream
            kind = type(stream).__module__ + "." + type(stream).__qualname__
            if hasattr(stream, "__aiter__"):
                async for item in stream: items.append(shown(item))
            else:
                async with stream as inner:
                    async for item in inner: items.append(shown(item))
        except Exception as failure:
            error = failure
        reading(name, model, kind, items, error)

async def main(): pass
"""
EPILOGUE = """
asyncio.run(main())
import gc; gc.collect()
print(json.dumps({"seen": seen, "started": len(spans), "open": [s.name for s in spans if s.is_recording()]}))
"""
CLIENTS = {
    "openai": """
import openai
given = dict(base_url=URL + "/v1", api_key="k", max_retries=0, timeout=120)  # to connect takes long, too
o, oa = openai.OpenAI(**given), openai.AsyncOpenAI(**given)
sync("chat", lambda m: o.chat.completions.create(**chat(m)))
sync("completions", lambda m: o.completions.create(model=m, prompt="hello", stream=True))
sync("responses", lambda m: o.responses.create(model=m, input="hello", stream=True))
sync("chat helper", lambda m: o.chat.completions.stream(model=m, messages=MESSAGES))
sync("responses helper", lambda m: o.responses.stream(model=m, input="hello"))
async def main():
    await asynchronous("async chat", lambda m: oa.chat.completions.create(**chat(m)))
    call = dict(prompt="hello", stream=True)
    await asynchronous("async completions", lambda m: oa.completions.create(model=m, **call))
    await asynchronous("async responses", lambda m: oa.responses.create(model=m, input="hello", stream=True))
    await asynchronous("async chat helper", lambda m: oa.chat.completions.stream(model=m, messages=MESSAGES))
""",
    "anthropic": """
import anthropic
given = dict(base_url=URL, api_key="k", max_retries=0, timeout=120)
a, aa = anthropic.Anthropic(**given), anthropic.AsyncAnthropic(**given)
call = lambda m: dict(model=m, max_tokens=5, messages=MESSAGES)
sync("messages", lambda m: a.messages.create(**call(m), stream=True))
sync("manager", lambda m: a.messages.stream(**call(m)))
async def main():
    await asynchronous("async messages", lambda m: aa.messages.create(**call(m), stream=True))
    await asynchronous("async manager", lambda m: aa.messages.stream(**call(m)))
""",
    "litellm": """
import litellm
litellm.suppress_debug_info = True
given = dict(api_base=URL + "/v1", api_key="k", max_retries=0)
call = lambda m: dict(chat("openai/" + m), **given)
sync("litellm", lambda m: litellm.completion(**call(m)))
async def main():
    await asynchronous("async litellm", lambda m: litellm.acompletion(**call(m)))
""",
    "groq": """
import groq
given = dict(base_url=URL, api_key="k", max_retries=0, timeout=120)
g, ga = groq.Groq(**given), groq.AsyncGroq(**given)
sync("groq", lambda m: g.chat.completions.create(**chat(m)))
async def main():
    await asynchronous("async groq", lambda m: ga.chat.completions.create(**chat(m)))
""",
    "mistralai": """
from mistralai import Mistral
c = Mistral(server_url=URL, api_key="k")
sync("mistral", lambda m: c.chat.stream(model=m, messages=MESSAGES))
async def main():
    await asynchronous("async mistral", lambda m: c.chat.stream_async(model=m, messages=MESSAGES))
""",
    "ollama": """
import ollama
sync("ollama", lambda m: ollama.Client(host=URL).chat(**chat(m)))
async def main():
    await asynchronous("async ollama", lambda m: ollama.AsyncClient(host=URL).chat(**chat(m)))
""",
    "cohere": """
import cohere
c, ca = cohere.ClientV2("k", base_url=URL), cohere.AsyncClientV2("k", base_url=URL)
sync("cohere", lambda m: c.chat_stream(model=m, messages=MESSAGES))
async def main():
    await asynchronous("async cohere", lambda m: ca.chat_stream(model=m, messages=MESSAGES))
""",
    "google.genai": """
from google import genai
c = genai.Client(api_key="k", http_options={"base_url": URL})
sync("gemini", lambda m: c.models.generate_content_stream(model=m, contents="hello"))
stream = c.aio.models.generate_content_stream
async def main():
    await asynchronous("async gemini", lambda m: stream(model=m, contents="hello"))
""",
}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class Reading:
    """The outputs of one program, by the mode of tracing."""

    def __init__(self, library: str, url: str) -> None:
        self.errors: dict[str, str] = {}
        modes = ("off", "on", "content")
        with ThreadPoolExecutor() as pool:
            outputs = pool.map(lambda mode: self._run(library, mode, url), modes)
        self.outputs = dict(zip(modes, outputs, strict=True))

    def _run(self, library: str, mode: str, url: str) -> dict[str, Any]:
        env = {"GATEWAY": url, "MODE": mode, "MODELS": json.dumps(MODELS)}
        done = run_program(PRELUDE + CLIENTS[library] + EPILOGUE, env, timeout=400)
        self.errors[mode] = done.stderr
        output: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return output


@pytest.fixture(scope="module", params=CLIENTS)
def reading(request: pytest.FixtureRequest) -> Iterator[Reading]:
    if not _installed(request.param):
        pytest.skip(f"{request.param} is not installed in this environment")
    with gateway() as url:
        yield Reading(request.param, url)


@pytest.mark.parametrize("mode", ["on", "content"])
def test_the_program_gets_the_same_items_streams_and_errors(reading: Reading, mode: str) -> None:
    without, traced = reading.outputs["off"]["seen"], reading.outputs[mode]["seen"]

    assert len(without) >= len(MODELS)
    assert {name: traced[name] for name in without if traced[name] != without[name]} == {}


@pytest.mark.parametrize("mode", ["on", "content"])
def test_every_stream_is_a_span_that_ends(reading: Reading, mode: str) -> None:
    output = reading.outputs[mode]

    assert output["started"] >= len(output["seen"])
    assert output["open"] == []


@pytest.mark.parametrize("mode", ["on", "content"])
def test_a_failure_of_the_instrumentor_is_logged_once_of_a_kind(reading: Reading, mode: str) -> None:
    lines = [line for line in reading.errors[mode].splitlines() if "instrumentation" in line]

    assert len(lines) == len(set(lines))
    assert "Traceback" not in reading.errors[mode]
