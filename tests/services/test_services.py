"""The sample services over real HTTP: answers, authentication, and no influence of tracing on either."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.demo import report, workload
from services.demo.processes import Processes
from services.demo.stack import Ingester, running, start_ingester
from tests.support.waiting import wait_until

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


# -- tracing leaves answers unchanged ----------------------------------------------------------------------


def test_untraced_answers_have_the_expected_statuses(untraced):
    assert [status for status, _ in untraced] == [question.status for _, question in workload.plan(WORKFLOWS)]


def test_answers_are_the_same_bytes_when_traced_into_the_local_store(untraced, tmp_path):
    assert answers(tmp_path / "data") == untraced


def test_answers_are_the_same_bytes_when_the_target_refuses_connections(untraced, tmp_path):
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


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_answers_are_the_same_bytes_when_the_target_fails_midway(untraced, tmp_path, blow):
    data = tmp_path / "data"
    data.mkdir()
    countdown = itertools.count(1)
    with Processes(tmp_path / "logs") as target:
        settings = start_ingester(target, data).settings()
        process = target.children["ingester"].process

        def strike() -> None:
            if next(countdown) == WORKFLOWS // 3:
                process.send_signal(blow)

        with running(data, settings) as gateway:
            outcomes = asyncio.run(workload.send(gateway, workload.plan(WORKFLOWS), 8, strike))
        process.kill()

    assert [(outcome.status, outcome.body) for outcome in outcomes] == untraced


# -- attribution to tenants ----------------------------------------------------------------------------


def test_a_caller_cannot_attribute_its_work_to_another_tenant(tmp_path):
    tags = base64.urlsafe_b64encode(b'{"tenant_id": "globex"}').decode()
    forged = {
        "authorization": "Bearer demo-acme",
        "x-tenant-id": "globex",
        "baggage": "tenant_id=globex",
        "x-somatrace-tags": f"v1.demo.{tags}.{tags}",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    with Processes(tmp_path / "logs") as processes:
        ingester = start_ingester(processes, tmp_path)
        with running(tmp_path, ingester.settings()) as gateway:
            answer = httpx.post(
                f"{gateway}/v1/workflows/order-status",
                json={"question": "Where is order A-1001?", "tenant_id": "globex"},
                headers=forged,
                timeout=180,
            )
            observations = stored(ingester, workflows=1)

    tenants = {str(each["metadata"].get("tenant_id")) for each in observations}
    assert answer.status_code == 200
    assert tenants == {"acme", "platform"}


def stored(ingester: Ingester, workflows: int) -> list[report.Observation]:
    """The stored observations, once there are that many workflows."""

    def found() -> list[report.Observation]:
        read = report.read_back(ingester.url, ingester.public_key, ingester.secret_key)
        whole = sum(row.workflows for row in report.rows(read) if row.tenant == "acme") >= workflows
        return read if whole else []

    return wait_until(found)


# -- answers of the services -------------------------------------------------------------------------


def test_an_answer_contains_the_tools_result(gateway):
    answer = asked(gateway, "I need a price quote for 60 of KT-200.", "price-quote")

    assert "2027.52 euros" in answer.json()["answer"]


def test_an_unknown_order_is_a_404_with_a_code(gateway):
    answer = asked(gateway, "Where is order A-9999?", "order-status")

    assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "order_not_found")


def test_a_busy_model_is_retried_once_with_the_default_model(gateway):
    answer = asked(gateway, "This is urgent: what does error E12 mean?")

    assert (answer.status_code, answer.json()["model"]) == (200, "local-extractive")


def test_the_chunks_of_a_stream_make_up_the_plain_answer(gateway):
    question = "Where is order A-1004?"
    plain = asked(gateway, question, "order-status").json()["answer"]

    streamed = asked(gateway, question, "order-status", stream=True)

    events = [line.removeprefix("data: ") for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "".join(json.loads(event).get("delta", "") for event in events) == plain
    assert streamed.text.count("event: done") == 1


def test_a_failing_stream_ends_with_an_error_event(gateway):
    streamed = asked(gateway, "Where is order A-9999?", "order-status", stream=True)

    assert 'event: error\ndata: {"status": 404, "code": "order_not_found"}' in streamed.text


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic demo-acme", "demo-acme", "Bearer a b"])
def test_requests_without_a_known_key_are_rejected(gateway, authorization):
    answer = gateway.post(
        "/v1/workflows/support-answer",
        json={"question": "What does error E12 mean?"},
        headers={"authorization": authorization, "x-tenant-id": "acme"},
    )

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"question": ""}, {"question": "x" * 2_001}, {"question": "x", "session_id": "a b"}]
)
def test_a_malformed_question_is_rejected(gateway, body):
    answer = gateway.post(
        "/v1/workflows/support-answer", json=body, headers={"authorization": "Bearer demo-acme"}
    )

    assert answer.status_code == 422
