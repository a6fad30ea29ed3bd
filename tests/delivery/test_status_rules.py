"""The status table: complete, equal to its documentation, and obeyed by the transports and the probe."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import get_args

import pytest

from somatrace.config import Target
from somatrace.delivery.otlp_grpc import GrpcTransport
from somatrace.delivery.probe import probe
from somatrace.delivery.send_result import Fault, SendOutcome
from somatrace.delivery.status_rules import TAKES_EXPORTS, grpc_rule, http_rule
from tests.delivery.support import batch, http, raw_server, read_request, target

PAGE = Path(__file__).resolve().parents[2] / "docs" / "delivery.md"
STATUSES = range(100, 600)
CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
#: What gRPC in Go, C++ and Python, in Java, and in .NET says.
TOO_LARGE = (
    "Received message larger than max (9 vs. 4)",
    "gRPC message exceeds maximum size 4: 9",
    "Received message exceeds the maximum configured message size.",
)


def documented() -> list[tuple[str, str]]:
    """Answer and outcome of each row of the page's table of answers."""
    section = PAGE.read_text().split("## Answers and outcomes")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("|")]
    return [(answer.strip(), outcome.strip()) for answer, outcome in rows[2:]]


def documented_http() -> dict[int, str]:
    """The outcome of each status; a status named by itself takes precedence over its class."""
    outcomes: dict[int, str] = {}
    for pattern in (r"\b([1-5])xx\b", r"\b([1-5]\d\d)\b"):
        for answer, outcome in documented():
            for found in re.findall(pattern, answer):
                first = int(found) if len(found) == 3 else int(found) * 100
                count = 1 if len(found) == 3 else 100
                outcomes |= dict.fromkeys(range(first, first + count), outcome)
    return outcomes


def test_the_documented_http_outcomes_are_those_of_the_table():
    assert documented_http() == {status: http_rule(status).outcome for status in STATUSES}


def test_the_documented_grpc_outcomes_are_those_of_the_table():
    [other] = [outcome for answer, outcome in documented() if "any other gRPC code" in answer]
    outcomes = dict.fromkeys(CODES, other)
    for answer, outcome in documented():
        for code in re.findall(r"`([A-Z_]+)`", answer):
            if code != "RESOURCE_EXHAUSTED":  # documented with its details
                outcomes[code] = outcome

    assert outcomes == {code: grpc_rule(code).outcome for code in CODES}
    too_large, otherwise = [outcome for answer, outcome in documented() if "`RESOURCE_EXHAUSTED`" in answer]
    assert {grpc_rule("RESOURCE_EXHAUSTED", text).outcome for text in TOO_LARGE} == {too_large}
    assert grpc_rule("RESOURCE_EXHAUSTED").outcome == otherwise
    assert grpc_rule("RESOURCE_EXHAUSTED", recovers=True).outcome == otherwise


def test_every_row_is_consistent():
    for rule in {*map(http_rule, STATUSES), *map(grpc_rule, CODES)}:
        assert rule.outcome in get_args(SendOutcome)
        assert rule.fault is None or rule.fault in get_args(Fault)
        assert (rule.fault is None) == (rule.outcome == "accepted")
        assert not (rule.choked or rule.ambiguous) or rule.outcome == "retry"
        assert rule.fault not in ("auth", "path") or rule.outcome == "misconfigured"


def test_statuses_that_prove_a_path_are_known_to_the_table():
    assert {http_rule(status).outcome for status in TAKES_EXPORTS} == {
        "accepted",
        "rejected",
        "misconfigured",
        "retry",
    }


def test_the_http_transport_and_the_probe_obey_the_table():
    now = [0]

    def script(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            connection.sendall(f"HTTP/1.1 {now[0]} x\r\nContent-Length: 0\r\n\r\n".encode())

    with raw_server(script) as port:
        place = target(f"http://127.0.0.1:{port}/v1/traces")
        transport = http(place)
        for status in STATUSES[1:]:  # 100 announces another answer
            now[0] = status
            rule = http_rule(status)
            answer = transport.send(batch("a"), 5)
            found = probe(place, 5)

            expected = (rule.outcome, rule.choked, rule.fault)
            assert (answer.outcome, answer.choked, answer.fault) == expected, status
            assert answer.outcome == "accepted" or answer.message.endswith(f": {rule.text(status)}")
            assert found.fault == rule.probe_fault, status
            assert found.message.startswith(str(status))
            assert (found.fault is None) == (rule.outcome in ("accepted", "rejected"))
            assert found.rejects == (rule.outcome == "rejected"), status


@pytest.mark.parametrize("details", ["canary", *TOO_LARGE])
def test_the_grpc_transport_and_the_probe_obey_the_table(details):
    grpc = pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server

    assert {code.name for code in grpc.StatusCode} == set(CODES)
    now = [""]

    def fail(_number, _body, context) -> None:
        if now[0] != "OK":
            context.abort(getattr(grpc.StatusCode, now[0]), details)

    with grpc_server(fail) as (_, port):
        place = Target("otlp", f"127.0.0.1:{port}", "grpc", insecure=True, compression="none")
        transport = GrpcTransport(place)
        for code in CODES:
            now[0] = code
            rule = grpc_rule(code, details)
            answer = transport.send(batch("a"), 5)
            found = probe(place, 5)

            expected = (rule.outcome, rule.choked, rule.ambiguous, rule.fault)
            assert (answer.outcome, answer.choked, answer.ambiguous, answer.fault) == expected, code
            assert found.fault == rule.probe_fault, code
            assert found.rejects == (rule.outcome == "rejected"), code
            assert found.message == (
                f"{code} to an export without spans"
                if found.rejects
                else code
                if found.fault
                else "the export was taken"
            )
        transport.close()
