"""The sample services over real HTTP: what they answer, to whom, and that tracing changes none of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo import workload
from demo.stack import running

pytestmark = pytest.mark.slow
WORKFLOWS = 46


def answers(data: Path, **tracing: str) -> list[tuple[int, bytes]]:
    data.mkdir()
    with running(data, tracing) as gateway:
        outcomes = asyncio.run(workload.send(gateway, workload.plan(WORKFLOWS), 8, lambda: None))
    return [(outcome.status, outcome.body) for outcome in outcomes]


@pytest.fixture(scope="module")
def untraced(tmp_path_factory) -> list[tuple[int, bytes]]:
    return answers(tmp_path_factory.mktemp("untraced") / "data", SOMATRACE_ENABLED="false")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[httpx.Client]:
    data = tmp_path_factory.mktemp("services")
    with (
        running(data, {"SOMATRACE_ENABLED": "false"}) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client


def asked(gateway: httpx.Client, question: str, workflow: str = "support-answer", **more) -> httpx.Response:
    return gateway.post(
        f"/v1/workflows/{workflow}",
        json={"question": question, **more},
        headers={"authorization": "Bearer demo-acme"},
    )


# -- tracing changes no answer ----------------------------------------------------------------------


def test_untraced_answers_are_what_the_questions_expect(untraced):
    assert [status for status, _ in untraced] == [question.status for _, question in workload.plan(WORKFLOWS)]


def test_answers_are_the_same_bytes_when_traced_into_the_local_store(untraced, tmp_path):
    assert answers(tmp_path / "data") == untraced


def test_answers_are_the_same_bytes_when_nobody_listens_at_the_target(untraced, tmp_path):
    keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}

    assert answers(tmp_path / "data", LANGFUSE_BASE_URL="http://127.0.0.1:9", **keys) == untraced


def test_answers_are_the_same_bytes_when_the_target_never_answers(untraced, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"

        assert answers(tmp_path / "data", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=url) == untraced


def test_answers_are_the_same_bytes_when_every_setting_is_wrong(untraced, tmp_path):
    wrong = {
        "SOMATRACE_TARGET": "elsewhere",
        "SOMATRACE_TRUST_KEYS": "not a key",
        "SOMATRACE_QUEUE_SIZE": "-1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://nowhere",
        "OTEL_TRACES_SAMPLER": "sometimes",
        "LANGFUSE_PUBLIC_KEY": "alone",
    }

    assert answers(tmp_path / "data", **wrong) == untraced


# -- what the services answer -------------------------------------------------------------------------


def test_an_answer_holds_what_the_tool_said(gateway):
    answer = asked(gateway, "I need a price quote for 60 of KT-200.", "price-quote")

    assert "2027.52 euros" in answer.json()["answer"]


def test_an_unknown_order_is_a_404_with_a_code(gateway):
    answer = asked(gateway, "Where is order A-9999?", "order-status")

    assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "order_not_found")


def test_a_busy_model_is_asked_once_more_under_another_name(gateway):
    answer = asked(gateway, "This is urgent: what does error E12 mean?")

    assert (answer.status_code, answer.json()["model"]) == (200, "local-extractive")


def test_a_stream_comes_in_pieces_that_make_the_plain_answer(gateway):
    question = "Where is order A-1004?"
    plain = asked(gateway, question, "order-status").json()["answer"]

    streamed = asked(gateway, question, "order-status", stream=True)

    events = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "".join(json.loads(event).get("delta", "") for event in events) == plain
    assert streamed.text.count("event: done") == 1


def test_a_stream_that_fails_says_so_in_an_event(gateway):
    streamed = asked(gateway, "Where is order A-9999?", "order-status", stream=True)

    assert 'event: error\ndata: {"status": 404, "code": "order_not_found"}' in streamed.text


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic demo-acme", "demo-acme", "Bearer a b"])
def test_without_a_known_key_nobody_gets_an_answer(gateway, authorization):
    answer = gateway.post(
        "/v1/workflows/support-answer",
        json={"question": "What does error E12 mean?"},
        headers={"authorization": authorization, "x-tenant-id": "acme"},
    )

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"question": ""}, {"question": "x" * 2_001}, {"question": "x", "session_id": "a b"}]
)
def test_a_malformed_question_is_refused(gateway, body):
    answer = gateway.post(
        "/v1/workflows/support-answer", json=body, headers={"authorization": "Bearer demo-acme"}
    )

    assert answer.status_code == 422
