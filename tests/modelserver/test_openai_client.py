"""The model server, called by OpenAI's own client over a real socket."""

from __future__ import annotations

import json
import math

import httpx
import pytest
from pydantic import BaseModel

from tests.support.waiting import HANG

MODEL = "local-extractive"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "lookup_order",
            "description": "Status of one order",
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "string"}},
                "required": ["order_id"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "quote_price",
            "description": "Price quote for a quantity of an article",
            "parameters": {
                "type": "object",
                "properties": {"sku": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
                "required": ["sku", "quantity"],
            },
        },
    },
]


def asked(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


class Shipping(BaseModel):
    answer: str
    order_id: str
    days: int
    confident: bool


# -- chat completions -----------------------------------------------------------------------------


def test_a_question_is_answered_with_a_sentence_from_the_handbook(client):
    completion = client.chat.completions.create(model=MODEL, messages=asked("What does error E31 mean?"))

    assert "Error E31 means that the water pressure is too low." in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"


def test_an_answer_names_its_model(client):
    completion = client.chat.completions.create(model=MODEL, messages=asked("What is the Canal blend?"))

    assert (completion.model, completion.system_fingerprint) == (MODEL, MODEL)


def test_context_in_the_prompt_takes_precedence_over_the_handbook(client):
    prompt = (
        "<context>Error E31 was renamed to a leaking valve in 2026.</context> Question: What is error E31?"
    )

    completion = client.chat.completions.create(model=MODEL, messages=asked(prompt))

    assert completion.choices[0].message.content.startswith("Error E31 was renamed to a leaking valve")


def test_an_unanswerable_question_gets_a_not_found_answer(client):
    completion = client.chat.completions.create(model=MODEL, messages=asked("Zyxomma petiolatum?"))

    assert completion.choices[0].message.content == "I do not find that in the sources I have."


def test_the_same_body_gets_the_same_bytes_regardless_of_headers(base_url):
    body = {"model": MODEL, "messages": asked("How long is the warranty?")}
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}

    plain = httpx.post(f"{base_url}/chat/completions", json=body, timeout=HANG)
    traced = httpx.post(f"{base_url}/chat/completions", json=body, headers=trace, timeout=HANG)

    assert plain.status_code == 200
    assert plain.content == traced.content


def test_usage_adds_up_and_grows_with_the_prompt(client):
    short = client.chat.completions.create(model=MODEL, messages=asked("Warranty?")).usage
    long = client.chat.completions.create(model=MODEL, messages=asked(" ".join(["Warranty?"] * 50))).usage

    assert short.total_tokens == short.prompt_tokens + short.completion_tokens
    assert long.prompt_tokens == 50 * short.prompt_tokens


def test_a_stream_has_the_same_text_as_a_plain_answer_and_its_usage_last(client):
    question = asked("How are machines descaled?")
    whole = client.chat.completions.create(model=MODEL, messages=question)

    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=question, stream=True, stream_options={"include_usage": True}
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len(chunks) > 5
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_stream_options_has_no_usage(client):
    chunks = client.chat.completions.create(model=MODEL, messages=asked("Refunds?"), stream=True)

    assert [chunk.usage for chunk in chunks if chunk.usage] == []


def test_n_choices_are_different_answers(client):
    completion = client.chat.completions.create(model=MODEL, messages=asked("What do machines need?"), n=3)

    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in completion.choices}) == 3


def test_max_tokens_truncates_the_answer_and_sets_the_finish_reason(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=asked("What does error E12 mean?"), max_completion_tokens=3
    )

    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3


def test_a_stop_sequence_ends_the_answer_before_it(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=asked("What does error E12 mean?"), stop=["grinder"]
    )

    assert completion.choices[0].message.content == "Error E12 means that the "


# -- tools and structured answers -------------------------------------------------------------------


def test_a_tool_is_called_when_the_question_contains_its_arguments(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=asked("Give me a price quote for 12 of KT-200"), tools=TOOLS
    )

    call = completion.choices[0].message.tool_calls[0]
    assert completion.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "quote_price"
    assert json.loads(call.function.arguments) == {"sku": "KT-200", "quantity": 12}


def test_no_tool_is_called_when_the_question_lacks_its_arguments(client):
    completion = client.chat.completions.create(
        model=MODEL, messages=asked("How do I track the status of an order?"), tools=TOOLS
    )

    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].message.content


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", None),
        ("required", "lookup_order"),
        ({"type": "function", "function": {"name": "quote_price"}}, "quote_price"),
    ],
)
def test_tool_choice_is_honored(client, choice, called):
    completion = client.chat.completions.create(
        model=MODEL, messages=asked("Status of order A-1001?"), tools=TOOLS, tool_choice=choice
    )

    calls = completion.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == called


def test_a_tool_result_becomes_the_answer(client):
    messages = [
        *asked("Status of order A-1001?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "lookup_order", "arguments": '{"order_id":"A-1001"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"order_id":"A-1001","status":"shipped"}'},
    ]

    completion = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)

    assert completion.choices[0].message.content == "order id: A-1001, status: shipped."


def test_a_streamed_tool_call_equals_the_plain_one(client):
    with client.chat.completions.stream(
        model=MODEL, messages=asked("Status of order A-1001?"), tools=TOOLS
    ) as stream:
        stream.until_done()
        completion = stream.get_final_completion()

    function = completion.choices[0].message.tool_calls[0].function
    assert (function.name, function.arguments) == ("lookup_order", '{"order_id": "A-1001"}')


def test_a_json_schema_is_filled_from_question_and_answer(client):
    completion = client.chat.completions.parse(
        model=MODEL, messages=asked("How long does shipping of A-1001 take?"), response_format=Shipping
    )

    parsed = completion.choices[0].message.parsed
    assert parsed.order_id == "A-1001"
    assert "Shipping" in parsed.answer
    assert parsed.confident is True


def test_a_json_object_is_valid_json(client):
    completion = client.chat.completions.create(
        model=MODEL,
        messages=asked("Which payment methods are accepted? Answer in JSON."),
        response_format={"type": "json_object"},
    )

    assert "SEPA" in json.loads(completion.choices[0].message.content)["answer"]


# -- embeddings, models -----------------------------------------------------------------------------


def cosine(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_embeddings_are_unit_vectors_and_closer_for_similar_texts(client):
    texts = ["the grinder is blocked", "a blocked grinder", "invoices are due in 30 days"]

    answer = client.embeddings.create(model=MODEL, input=texts)

    vectors = [item.embedding for item in answer.data]
    assert all(math.isclose(cosine(vector, vector), 1, rel_tol=1e-4) for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.3
    assert answer.usage.prompt_tokens > 0


def test_floats_and_base64_are_the_same_embedding(client):
    # by default the client requests base64
    packed = client.embeddings.create(model=MODEL, input="beans", dimensions=64).data[0].embedding
    floats = client.embeddings.create(model=MODEL, input="beans", dimensions=64, encoding_format="float")

    assert len(packed) == 64
    assert packed == pytest.approx(floats.data[0].embedding, abs=1e-6)


def test_token_numbers_are_embedded_like_words(client):
    answer = client.embeddings.create(model=MODEL, input=[[1, 2, 3], [1, 2, 4], [7, 8, 9]])

    near, far = (cosine(answer.data[0].embedding, answer.data[index].embedding) for index in (1, 2))
    assert near > far
    assert answer.usage.prompt_tokens == 9


def test_the_model_list_contains_the_only_model(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


# -- responses ----------------------------------------------------------------------------------------


def test_a_response_has_text_and_usage(client):
    response = client.responses.create(
        model=MODEL, instructions="Be brief.", input="What does error E40 mean?"
    )

    assert "too hot" in response.output_text
    assert response.model == MODEL
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_streamed_response_ends_with_the_complete_one(client):
    question = "What does error E40 mean?"
    whole = client.responses.create(model=MODEL, input=question)

    with client.responses.stream(model=MODEL, input=question) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert "".join(deltas) == whole.output_text == final.output_text
    assert final.usage == whole.usage


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_calls_a_tool_and_reads_its_result(client, stream):
    tools = [{"type": "function", **tool["function"], "strict": False} for tool in TOOLS]
    question = {"role": "user", "content": "Status of order A-1001?"}

    answer = client.responses.create(model=MODEL, input=[question], tools=tools, stream=stream)
    first = list(answer)[-1].response if stream else answer
    call = first.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"status": "packed"}'}
    second = client.responses.create(
        model=MODEL, input=[question, call.model_dump(exclude_none=True), result], tools=tools
    )

    assert (call.name, call.arguments) == ("lookup_order", '{"order_id": "A-1001"}')
    assert second.output_text == "status: packed."


def test_a_response_fills_a_schema(client):
    response = client.responses.parse(model=MODEL, input="Shipping of A-1001?", text_format=Shipping)

    assert response.output_parsed.order_id == "A-1001"


def test_a_truncated_response_is_incomplete(client):
    response = client.responses.create(model=MODEL, input="What does error E40 mean?", max_output_tokens=2)

    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
