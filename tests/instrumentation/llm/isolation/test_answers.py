"""An answer under tracing equals the client's own on every way of using it.

A program takes the same random steps on the answers of a client without tracing, with it and with content,
and notes what each step gave.
"""

from __future__ import annotations

import importlib.util

import pytest

from tests.instrumentation.llm.isolation.answers import assert_same_answers
from tests.support.llm_server import llm_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

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
             "undecoded": lambda a: list(a.http_response.iter_raw(7)), "close": lambda a: a.close(),
             "piece": lambda a: next(a.http_response.iter_bytes(5)),
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
    async def alines(a): return [line async for line in a.http_response.aiter_lines()]
    await adrive("async raw stream",
                 lambda: oa.chat.completions.with_raw_response.create(**call, stream=True),
                 {"parse": lambda a: a.parse(), "lines": alines, "read": lambda a: a.http_response.aread(),
                  "close": lambda a: a.http_response.aclose()}, 6)
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
raw = {"parse": lambda a: a.parse(), "read": lambda a: a.read(), "text": lambda a: a.text(),
       "lines": lambda a: list(a.iter_lines()), "bytes": lambda a: list(a.iter_bytes(7)),
       "consumed": lambda a: a.http_response.is_stream_consumed}
drive("raw", lambda: a.messages.with_raw_response.create(**call), raw, 6)
drive("raw stream", lambda: a.messages.with_raw_response.create(**call, stream=True), raw, 6)
for streams in (False, True) * 3:
    with a.beta.messages.with_streaming_response.create(**call, stream=streams) as answer:
        drive("streaming", lambda: answer, raw, 1)
answer = None
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
}


@pytest.mark.parametrize("library", CLIENTS)
def test_every_way_of_using_an_answer_gives_the_same(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed in this environment")
    with llm_server() as llm:
        assert_same_answers(CLIENTS[library], llm.env)
