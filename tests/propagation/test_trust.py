"""A service process on a real socket, and callers that send arbitrary bytes."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.context.tags import Tags
from somatrace.propagation import signing, tag_header
from tests.propagation.conftest import KEY_A, KEY_B
from tests.support.echo_server import Echo
from tests.support.otlp_server import OtlpServer, Received, otlp_server
from tests.support.programs import PATIENT, otlp_env
from tests.support.waiting import wait_until
from tests.support.web import service

pytestmark = pytest.mark.slow

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = TRACE.replace("4bf9", "4bfa")
MINTED = re.compile(r"[0-9a-f]{32}")
SERVICE = (
    PATIENT
    + """
from fastapi import FastAPI
from somatrace import bound, init_tracing, span
init_tracing("svc")
app = FastAPI()
@app.get("/items/{item}")
def item(item: str):
    with span("inner"):
        return dict(bound())
serve(app)
"""
)


@dataclass(frozen=True)
class Answer:
    status: int
    head: str
    body: str

    @property
    def tags(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def correlation_id(self) -> str:
        return re.findall(r"(?im)^x-correlation-id: (.*?)\r?$", self.head)[0]


@dataclass(frozen=True)
class Service:
    """A service on uvicorn with its defaults, which overwrite the peer address with X-Forwarded-For."""

    port: int
    spans: OtlpServer

    def ask(self, *headers: bytes | str) -> Answer:
        """Send one request with the given raw header lines."""
        lines = [line.encode("latin-1") if isinstance(line, str) else line for line in headers]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            head = [b"GET /items/7 HTTP/1.1", b"Host: svc", b"Connection: close", *lines]
            connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        top, _, body = answer.decode("latin-1").partition("\r\n\r\n")
        return Answer(int(top.split()[1]), top, body)

    def spans_of(self, correlation_id: str) -> list[Received]:
        """The two spans of one request."""

        def found() -> list[Received]:
            everything = list(self.spans.spans)
            return [each for each in everything if each.attributes.get("correlation_id") == correlation_id]

        wait_until(lambda: len(found()) >= 2)
        assert len(found()) == 2
        return found()


@pytest.fixture(scope="module")
def svc(tmp_path_factory) -> Iterator[Service]:
    env = {"SOMATRACE_TRUST": "10.0.0.0/8", "SOMATRACE_TRUST_KEYS": KEY_A, "SOMATRACE_FLUSH_INTERVAL": "0.02"}
    directory = tmp_path_factory.mktemp("service")
    with (
        otlp_server() as spans,
        service(SERVICE, otlp_env(spans.url, **env, SOMATRACE_DATA_DIR=str(directory)), directory) as url,
    ):
        yield Service(int(url.rpartition(":")[2]), spans)


def payload(**tags: str) -> str:
    return tag_header.encode(Tags(tags))[0]


def unsigned(**tags: str) -> str:
    return "x-somatrace-tags: " + tag_header.join(payload(**tags), None)


def signed(traceparent: str, *, key: str = KEY_A, age: float = 0, **tags: str) -> str:
    signature = signing.sign(signing.keys(key)[0], payload(**tags), traceparent, time.time() - age)
    return "x-somatrace-tags: " + tag_header.join(payload(**tags), signature)


def altered(line: str) -> str:
    """Other tags with the same signature."""
    return line.replace(payload(tenant_id="evil"), payload(tenant_id="EVIL"))


def test_a_caller_with_the_key_is_trusted_as_a_positive_control(svc):
    answer = svc.ask(f"traceparent: {TRACE}", signed(TRACE, tenant_id="acme", correlation_id="c-1"))

    assert answer.tags == {"tenant_id": "acme", "correlation_id": "c-1"}
    assert answer.correlation_id == "c-1"


@pytest.mark.parametrize(
    "headers",
    # made by each test: a signature made at collection would have aged by the time it is sent
    [
        pytest.param(lambda: [unsigned(tenant_id="evil")], id="unsigned"),
        pytest.param(
            lambda: [unsigned(tenant_id="evil"), "X-Forwarded-For: 10.1.2.3"],
            id="a trusted address in a header",
        ),
        pytest.param(
            lambda: [unsigned(tenant_id="evil"), "Forwarded: for=10.1.2.3", "X-Real-IP: 10.1.2.3"],
            id="or in others",
        ),
        pytest.param(
            lambda: [f"traceparent: {OTHER}", signed(TRACE, tenant_id="evil")], id="replayed in another trace"
        ),
        pytest.param(lambda: [signed(TRACE, tenant_id="evil")], id="replayed without a trace"),
        pytest.param(lambda: [signed("", tenant_id="evil")], id="signed for no trace"),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", signed(TRACE, age=400, tenant_id="evil")], id="expired"
        ),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", signed(TRACE, age=-400, tenant_id="evil")], id="from the future"
        ),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", signed(TRACE, key=KEY_B, tenant_id="evil")],
            id="with another key",
        ),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", altered(signed(TRACE, tenant_id="evil"))], id="altered"
        ),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", signed(TRACE, tenant_id="evil"), unsigned(tenant_id="evil")],
            id="twice",
        ),
        pytest.param(
            lambda: [f"traceparent: {TRACE}", f"traceparent: {OTHER}", signed(TRACE, tenant_id="evil")],
            id="with two traces",
        ),
        pytest.param(lambda: ["x-somatrace-tags: 1;" + "evil" * 2000], id="oversized"),
        pytest.param(lambda: ["x-somatrace-tags: 1;ZXZpbA"], id="no json"),
        pytest.param(lambda: ["x-somatrace-tags: evil"], id="malformed"),
        pytest.param(lambda: [b"x-somatrace-tags: \xff\xfe evil"], id="not ascii"),
        pytest.param(lambda: ["baggage: tenant_id=evil"], id="baggage"),
        pytest.param(
            lambda: ["tenant_id: evil", "x-tenant-id: evil", "x-request-id: evil"], id="plain headers"
        ),
        pytest.param(lambda: ["x-correlation-id: evil%0d%0aset-cookie: evil=1"], id="an encoded line break"),
        pytest.param(lambda: [b"x-correlation-id: evil\r\n set-cookie: evil=1"], id="a folded line"),
        pytest.param(lambda: [b"x-correlation-id: evil\nset-cookie: evil=1"], id="a bare line feed"),
        pytest.param(lambda: [b"x-correlation-id: evil\x00evil"], id="a null byte"),
        pytest.param(lambda: ["x-correlation-id: <script>evil</script>"], id="markup"),
        pytest.param(lambda: ["x-correlation-id: " + "evil" * 17], id="a long correlation id"),
        pytest.param(lambda: ["x-correlation-id: evil", "x-correlation-id: evil"], id="two correlation ids"),
    ],
)
def test_an_untrusted_caller_sets_no_tag_and_nothing_is_echoed(svc, headers):
    answer = svc.ask(*headers())

    assert "evil" not in answer.head.lower()
    if answer.status == 400:  # the server itself rejects such bytes
        return
    assert answer.status == 200
    assert set(answer.tags) == {"correlation_id"}
    assert MINTED.fullmatch(answer.tags["correlation_id"])
    assert answer.correlation_id == answer.tags["correlation_id"]
    for found in svc.spans_of(answer.correlation_id):
        assert "evil" not in str(found).lower()
        assert found.attributes["tenant_id"] == "unknown"


def test_a_replay_can_only_join_the_trace_it_was_signed_for(svc):
    for number in ("r-1", "r-2"):
        captured = signed(TRACE, tenant_id="acme", correlation_id=number)
        assert svc.ask(f"traceparent: {TRACE}", captured).tags["tenant_id"] == "acme"
        assert {found.trace_id for found in svc.spans_of(number)} == {TRACE[3:35]}
        assert svc.ask(f"traceparent: {OTHER}", captured).tags.keys() == {"correlation_id"}


def test_an_untrusted_correlation_id_is_kept_on_the_requests_span(svc):
    answer = svc.ask("x-correlation-id: theirs-1")

    assert answer.correlation_id != "theirs-1"
    served = [found for found in svc.spans_of(answer.correlation_id) if found.name != "inner"]
    assert [found.attributes["client.correlation_id"] for found in served] == ["theirs-1"]


VALUES = st.one_of(
    st.sampled_from(
        [
            TRACE,
            OTHER,
            "1;" + payload(tenant_id="evil"),
            "1;" + payload(correlation_id="evil", agent_id="evil"),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
)
NAMES = st.sampled_from(
    ["traceparent", "tracestate", "baggage", "X-Somatrace-Tags", "X-Forwarded-For", "Forwarded",
     "x-correlation-id", "x-request-id", "tenant_id", "x-tenant-id"]
)  # fmt: skip


@given(st.lists(st.lists(st.tuples(NAMES, VALUES), max_size=6), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_of_untrusted_requests_changes_a_tag_of_the_service(svc, requests):
    for headers in requests:
        answer = svc.ask(*(f"{name}: {value}" for name, value in headers))
        if answer.status == 200:
            assert set(answer.tags) == {"correlation_id"}
            assert MINTED.fullmatch(answer.tags["correlation_id"])

    clean = svc.ask()
    assert set(clean.tags) == {"correlation_id"}
    assert MINTED.fullmatch(clean.tags["correlation_id"])


MIDDLEWARE_OUTSIDE = """
import httpx
from fastapi import FastAPI
from opentelemetry import baggage
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from somatrace import bound, init_tracing
init_tracing("svc")
app = FastAPI()
@app.get("/items/{item}")
def item(item: str):
    httpx.get(os.environ["INNER"], timeout=60)
    return {**bound(), "in force": str(baggage.get_all())}
serve(OpenTelemetryMiddleware(app))
"""


@pytest.mark.parametrize("edge", ["false", "true"], ids=["inside", "edge"])
def test_forged_baggage_is_not_sent_on_with_another_instrumentation_around_the_app(edge, tmp_path) -> None:
    pytest.importorskip("opentelemetry.instrumentation.asgi")
    inner = Echo()
    url = f"http://localhost:{inner.port}/"
    env = {"INNER": url, "SOMATRACE_EDGE": edge, "SOMATRACE_FLUSH_INTERVAL": "0.02"}
    with (
        otlp_server() as spans,
        service("import os\n" + MIDDLEWARE_OUTSIDE, otlp_env(spans.url, **env), tmp_path) as address,
    ):
        svc = Service(int(address.rpartition(":")[2]), spans)
        answer = svc.ask(f"traceparent: {TRACE[:-1]}0", "baggage: tenant_id=evil", unsigned(tenant_id="evil"))
    inner.close()

    assert "evil" not in answer.body
    (sent,) = inner.requests
    assert "baggage" not in sent
    assert (sent["traceparent"][3:35] == TRACE[3:35]) is (edge == "false")
    assert sent["traceparent"][-1] in "13"  # sampled, with or without a random trace id
