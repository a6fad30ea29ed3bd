"""LiteLLM and LangChain work with the model server as with OpenAI."""

from __future__ import annotations

import json

import litellm
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

# litellm's own types trigger pydantic warnings, which pytest turns into errors
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic")
MODEL = "local-extractive"
QUESTION = [{"role": "user", "content": "What does error E12 mean?"}]


@tool
def lookup_order(order_id: str) -> str:
    """Status of one order."""
    return order_id


@pytest.fixture
def chat(base_url: str) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=base_url, api_key="none", max_retries=0, stream_usage=True)


def test_litellm_completes_with_usage(base_url):
    answer = litellm.completion(model=f"openai/{MODEL}", api_base=base_url, api_key="none", messages=QUESTION)

    assert "grinder is blocked" in answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_litellm_streams(base_url):
    stream = litellm.completion(
        model=f"openai/{MODEL}", api_base=base_url, api_key="none", messages=QUESTION, stream=True
    )

    assert "grinder" in "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_litellm_embeds(base_url):
    answer = litellm.embedding(model=f"openai/{MODEL}", api_base=base_url, api_key="none", input=["beans"])

    assert len(answer.data[0]["embedding"]) == 256


def test_litellm_sees_a_rate_limit(base_url):
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(
            model=f"openai/{MODEL}-429", api_base=base_url, api_key="none", messages=QUESTION, num_retries=0
        )


def test_langchain_completes_and_streams_the_same_text(chat):
    whole = chat.invoke("What does error E12 mean?")
    streamed = list(chat.stream("What does error E12 mean?"))

    assert "".join(chunk.text for chunk in streamed) == whole.text
    assert whole.usage_metadata["total_tokens"] > 0


def test_langchain_binds_tools(chat):
    answer = chat.bind_tools([lookup_order]).invoke("Status of order A-1001?")

    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [
        ("lookup_order", {"order_id": "A-1001"})
    ]


def test_langchain_gets_structured_output(chat):
    schema = {"title": "Answer", "type": "object", "properties": {"answer": {"type": "string"}}}

    answer = chat.with_structured_output(schema, method="json_schema").invoke("What is the Morning blend?")

    assert "light roast" in json.dumps(answer)


def test_langchain_embeds(base_url):
    model = OpenAIEmbeddings(model=MODEL, base_url=base_url, api_key="none", check_embedding_ctx_length=False)

    assert len(model.embed_query("beans")) == 256
