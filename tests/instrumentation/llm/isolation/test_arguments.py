"""The program's arguments reach the client as they are: same bytes, and nothing else reads them."""

from __future__ import annotations

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somatrace.instrumentation.llm.isolation.passive import passive
from tests.instrumentation.llm.isolation.argument_kinds import PRELUDE
from tests.support.gateways import gateway
from tests.support.llm_server import llm_server
from tests.support.programs import run_program

CALLS = {
    "openai": """
import openai
o, oa = openai.OpenAI(max_retries=0), openai.AsyncOpenAI(max_retries=0)
each(lambda v: o.chat.completions.create(model="m", messages=v))
each(lambda v: o.chat.completions.create(model="m", messages=v, stream=True))
each(lambda v: o.chat.completions.parse(model="m", messages=v))
each(lambda v: o.responses.create(model="m", input=v))
each(lambda v: o.responses.create(model="m", input="x", metadata=v))
each(lambda v: o.embeddings.create(model="m", input=v))
each(lambda v: o.chat.completions.with_raw_response.create(model="m", messages=v))
asyncio.run(aeach(lambda v: oa.chat.completions.create(model="m", messages=v)))
asyncio.run(aeach(lambda v: oa.responses.create(model="m", input=v)))
""",
    "anthropic": """
import anthropic
a, aa = anthropic.Anthropic(max_retries=0), anthropic.AsyncAnthropic(max_retries=0)
each(lambda v: a.messages.create(model="m", max_tokens=5, messages=v))
each(lambda v: a.messages.create(model="m", max_tokens=5, messages=v, stream=True))
each(lambda v: a.messages.create(model="m", max_tokens=5, system=v, messages=[]))
asyncio.run(aeach(lambda v: aa.messages.create(model="m", max_tokens=5, messages=v)))
""",
    "litellm": """
import litellm
litellm.suppress_debug_info = True
class Nothing(list):
    def append(self, _): "Its threads read the arguments as well, at any time."
reads = Nothing()
each(lambda v: litellm.completion(model="openai/m", messages=v, max_retries=0))
each(lambda v: litellm.embedding(model="openai/m", input=v, max_retries=0))
""",
}

#: Streams, which a gateway serves.
STREAMS = {
    "groq": """
import groq
given = dict(base_url=os.environ["GATEWAY"], api_key="k", max_retries=0)
g, ga = groq.Groq(**given), groq.AsyncGroq(**given)
each(lambda v: g.chat.completions.create(model="plain", messages=v, stream=True))
asyncio.run(aeach(lambda v: ga.chat.completions.create(model="plain", messages=v, stream=True)))
""",
    "ollama": """
import ollama
o, oa = ollama.Client(host=os.environ["GATEWAY"]), ollama.AsyncClient(host=os.environ["GATEWAY"])
each(lambda v: o.chat(model="plain", messages=v, stream=True))
each(lambda v: o.chat(model="plain", messages=[], stream=True, options=v))
asyncio.run(aeach(lambda v: oa.chat(model="plain", messages=v, stream=True)))
""",
    "cohere": """
import cohere
c = cohere.ClientV2("k", base_url=os.environ["GATEWAY"])
each(lambda v: c.chat_stream(model="plain", messages=v))
each(lambda v: c.chat_stream(model="plain", messages=[], documents=v))
""",
    "mistralai": """
from mistralai import Mistral
m = Mistral(server_url=os.environ["GATEWAY"], api_key="k")
each(lambda v: m.chat.stream(model="plain", messages=v))
asyncio.run(aeach(lambda v: m.chat.stream_async(model="plain", messages=v)))
""",
    "google.genai": """
from google import genai
g = genai.Client(api_key="k", http_options={"base_url": os.environ["GATEWAY"]})
each(lambda v: g.models.generate_content_stream(model="plain", contents=v))
each(lambda v: g.models.generate_content_stream(model="plain", contents="x", config={"stop_sequences": v}))
asyncio.run(aeach(lambda v: g.aio.models.generate_content_stream(model="plain", contents=v)))
""",
}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("library", STREAMS)
def test_streamed_requests_are_the_same_without_tracing_with_it_and_with_content(library: str) -> None:
    if not _installed(library):
        pytest.skip(f"{library} is not installed in this environment")

    def run(mode: str) -> tuple[list[bytes], object]:
        bodies: list[bytes] = []
        with gateway(bodies) as url:
            source = PRELUDE + STREAMS[library] + "\nprint(json.dumps(outcomes))\n"
            done = run_program(source, {"GATEWAY": url, "MODE": mode}, timeout=400)
            return bodies, json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    assert len(off[0]) > 5
    assert on == off
    assert content == off


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("library", CALLS)
def test_requests_are_the_same_without_tracing_with_it_and_with_content(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed in this environment")

    def run(mode: str) -> tuple[list[bytes], object]:
        with llm_server() as llm:
            source = PRELUDE + CALLS[library] + "\nprint(json.dumps(outcomes))\n"
            done = run_program(source, {**llm.env, "MODE": mode}, timeout=400)
            return llm.bodies, json.loads(done.stdout.splitlines()[-1])

    with ThreadPoolExecutor() as pool:
        off, on, content = pool.map(run, ("off", "on", "content"))

    assert len(off[0]) > 20
    assert on[0] == off[0]
    assert content[0] == off[0]
    assert on[1] == off[1]
    assert content[1] == off[1]


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
_NESTED = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner)
    ),
)


@given(_NESTED)
def test_lists_tuples_dicts_and_plain_values_are_read_as_they_are(value: object) -> None:
    assert passive(value, ()) == value


@given(st.lists(_NESTED))
def test_iterators_stay_unread_wherever_they_are(values: list[object]) -> None:
    iterator = iter(values)

    passive({"messages": [{"content": iterator}, (iterator,)]}, ())

    assert list(iterator) == values
