"""Streams of further clients under tracing equal the clients' own on every way of using them."""

from __future__ import annotations

import importlib.util

import pytest

from tests.instrumentation.llm.isolation.answers import assert_same_answers
from tests.support.gateways import gateway

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIENTS = {
    "groq": """
import groq
given = dict(base_url=os.environ["GATEWAY"], api_key="k", max_retries=0)
g, ga = groq.Groq(**given), groq.AsyncGroq(**given)
call = dict(model="plain", messages=MESSAGES, stream=True)
response = {"status": lambda a: a.response.status_code, "closed": lambda a: a.response.is_closed}
drive("stream", lambda: g.chat.completions.create(**call), response)
async def main():
    await adrive("async stream", lambda: ga.chat.completions.create(**call), response)
""",
    "ollama": """
import ollama
call = dict(model="plain", messages=MESSAGES, stream=True)
drive("stream", lambda: ollama.Client(host=os.environ["GATEWAY"]).chat(**call))
async def main():
    await adrive("async stream", lambda: ollama.AsyncClient(host=os.environ["GATEWAY"]).chat(**call))
""",
    "cohere": """
import cohere
given = dict(base_url=os.environ["GATEWAY"])
c, ca = cohere.ClientV2("k", **given), cohere.AsyncClientV2("k", **given)
drive("stream", lambda: c.chat_stream(model="plain", messages=MESSAGES))
async def main():
    await adrive("async stream", lambda: ca.chat_stream(model="plain", messages=MESSAGES))
""",
    "mistralai": """
from mistralai import Mistral
c = Mistral(server_url=os.environ["GATEWAY"], api_key="k")
response = {"status": lambda a: a.response.status_code}
drive("stream", lambda: c.chat.stream(model="plain", messages=MESSAGES), response)
async def main():
    await adrive("async stream", lambda: c.chat.stream_async(model="plain", messages=MESSAGES), response)
""",
    "google.genai": """
from google import genai
c = genai.Client(api_key="k", http_options={"base_url": os.environ["GATEWAY"]})
drive("stream", lambda: c.models.generate_content_stream(model="plain", contents="hello"))
stream = c.aio.models.generate_content_stream
async def main():
    await adrive("async stream", lambda: stream(model="plain", contents="hello"))
""",
}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("library", CLIENTS)
def test_every_way_of_using_an_answer_gives_the_same(library: str) -> None:
    if not _installed(library):
        pytest.skip(f"{library} is not installed in this environment")
    with gateway() as url:
        assert_same_answers(CLIENTS[library], {"GATEWAY": url})
