"""Failures of the model server: variants that fail, wrong keys, malformed requests, hostile schemas."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somatrace.modelserver.facts import structure
from somatrace.modelserver.protocol import MAX_BODY
from somatrace.modelserver.text import count_tokens, tokens
from tests.support.waiting import HANG

MODEL = "local-extractive"
QUESTION = [{"role": "user", "content": "What does error E12 mean?"}]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
SCHEMA_KEYS = st.sampled_from(
    ["type", "properties", "items", "enum", "const", "anyOf", "$ref", "minimum", "maxItems", "maxLength"]
)
TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
SCHEMAS = st.recursive(
    st.dictionaries(SCHEMA_KEYS, JSON | TYPES, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(["properties", "$defs"]), st.dictionaries(st.text(), inner)
    ),
    max_leaves=8,
)


# -- failing variants --------------------------------------------------------------------------------


def test_the_429_model_raises_the_clients_rate_limit_error_with_a_retry_time(client):
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model=f"{MODEL}-429", messages=QUESTION)

    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["retry-after-ms"]) < 1000


def test_the_500_model_raises_the_clients_server_error(client):
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=f"{MODEL}-500", messages=QUESTION)


def test_the_slow_model_runs_into_a_short_timeout(client):
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=f"{MODEL}-slow", messages=QUESTION, timeout=0.05)


def test_the_broken_stream_breaks_after_its_first_chunks(client):
    stream = client.chat.completions.create(model=f"{MODEL}-broken-stream", messages=QUESTION, stream=True)
    first = next(iter(stream))

    with pytest.raises(httpx.RemoteProtocolError):
        list(stream)
    assert first.choices[0].delta.role == "assistant"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)

    assert raised.value.code == "model_not_found"


# -- the key --------------------------------------------------------------------------------------------


def test_only_the_configured_key_is_accepted_and_errors_do_not_repeat_keys(serving):
    with serving(api_key="right-key") as url:
        right = openai.OpenAI(base_url=url, api_key="right-key", max_retries=0)
        wrong = openai.OpenAI(base_url=url, api_key="planted-wrong-key", max_retries=0)

        assert right.models.list().data
        with pytest.raises(openai.AuthenticationError) as raised:
            wrong.models.list()
        assert "planted" not in str(raised.value)
        assert httpx.get(f"{url}/models", timeout=HANG).status_code == 401


def test_a_host_header_other_than_loopback_is_rejected(base_url):
    answer = httpx.get(f"{base_url}/models", headers={"host": "evil.example"}, timeout=HANG)

    assert answer.status_code == 400


# -- malformed requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"model": None},
        {"model": 7},
        {"n": 99},
        {"max_tokens": 0},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"stream": "yes"},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "nobody"}}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_object"}},
        {"functions": []},
    ],
    ids=str,
)
def test_a_malformed_request_is_a_400_in_openais_shape(base_url, change):
    answer = httpx.post(
        f"{base_url}/chat/completions", json={"model": MODEL, "messages": QUESTION} | change, timeout=HANG
    )

    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"n": NaN}', b'{"n": 1e999}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_body_that_is_not_a_json_object_is_a_400(base_url, body):
    answer = httpx.post(f"{base_url}/chat/completions", content=body, timeout=HANG)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_body_over_the_limit_is_rejected_without_reading_all_of_it(base_url):
    def endless():
        for _ in range(MAX_BODY // 65_536 + 4):
            yield b" " * 65_536

    answer = httpx.post(f"{base_url}/chat/completions", content=endless(), timeout=HANG)

    assert answer.status_code == 413


def test_an_unknown_path_is_a_404_in_openais_shape(base_url):
    assert (
        httpx.get(f"{base_url}/nothing", timeout=HANG).json()["error"]["message"]
        == "Invalid URL (GET /v1/nothing)"
    )


def test_a_lone_surrogate_does_not_break_the_answer(base_url):
    body = '{"model":"local-extractive","messages":[{"role":"user","content":"\\ud800 warranty"}]}'

    assert httpx.post(f"{base_url}/chat/completions", content=body, timeout=HANG).status_code == 200


def test_a_response_cannot_refer_to_an_earlier_one(client):
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model=MODEL, input="And then?", previous_response_id="resp_1")


# -- hostile input ----------------------------------------------------------------------------------------


@given(st.text())
def test_joined_tokens_restore_the_text(text):
    assert "".join(tokens(text)) == text
    assert count_tokens(text) <= len(text)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS)
def test_any_schema_is_filled_with_json_without_failing(schema):
    value = structure(schema, "Price of 3 KT-200?", ["It costs 49 euros."])

    json.dumps(value, allow_nan=False)


def test_a_recursive_schema_terminates():
    part = {"type": "object", "properties": {f"p{number}": {"$ref": "#/$defs/part"} for number in range(50)}}

    value = structure({"$defs": {"part": part}, "$ref": "#/$defs/part"}, "x", ["y"])

    assert len(json.dumps(value)) < 100_000


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["messages", "tools", "stop", "n", "stream", "tool_choice"]), JSON))
def test_any_json_object_is_answered_or_rejected_without_a_server_error(base_url, values):
    answer = httpx.post(
        f"{base_url}/chat/completions", json={"model": MODEL, "messages": QUESTION, **values}, timeout=HANG
    )

    assert answer.status_code in (200, 400)
