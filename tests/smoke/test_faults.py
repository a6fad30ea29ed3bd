"""Each fault of the connection to a target has its own exit code and a message that names it."""

from __future__ import annotations

import socket
import ssl
import sys

import pytest
import trustme

from tests.delivery.support import raw_server, read_request
from tests.smoke.backend import OTLP, running
from tests.support.otlp_server import Reply, otlp_server
from tests.support.ports import refusing_port


def langfuse(url: str, backend) -> dict[str, str]:
    return {**backend.env, "LANGFUSE_HOST": url}


def test_an_unresolvable_host_exits_with_10(smoke, backend):
    report = smoke(langfuse("http://langfuse.invalid:3000", backend))

    assert (report.exit_code, report.outcome) == (10, "dns")
    assert report.message == "DNS: the name of langfuse.invalid:3000 does not resolve"
    assert "LANGFUSE_HOST" in report.advice


def test_a_closed_port_exits_with_11(smoke, backend):
    with refusing_port() as port:
        report = smoke(langfuse(f"http://127.0.0.1:{port}", backend))

    assert (report.exit_code, report.outcome) == (11, "refused")
    assert report.message == f"connection failed: no connection to 127.0.0.1:{port}: Connection refused"


def test_an_untrusted_certificate_exits_with_12(smoke, tmp_path):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    with running(tmp_path, context) as backend:
        report = smoke(backend.env)

    assert (report.exit_code, report.outcome) == (12, "tls")
    assert "is not accepted" in report.message
    assert "SOMATRACE_CERTIFICATE" in report.advice


def test_https_to_a_plain_http_port_exits_with_12(smoke, backend):
    report = smoke(langfuse(backend.url.replace("http", "https"), backend))

    assert report.exit_code == 12
    assert report.message.endswith("the server there does not speak TLS")


def test_a_missing_certificate_file_exits_with_12(smoke, backend, tmp_path):
    env = langfuse(backend.url.replace("http", "https"), backend)

    report = smoke({**env, "SOMATRACE_CERTIFICATE": str(tmp_path / "none.pem")})

    assert report.exit_code == 12
    assert "the CA certificate cannot be read" in report.message


@pytest.mark.parametrize("status", [401, 403, 407])
def test_rejected_keys_exit_with_13(smoke, backend, status):
    backend.export = lambda body: (status, {"message": "Invalid credentials"})

    report = smoke(backend.env)

    assert (report.exit_code, report.message) == (13, f"the target rejected the keys: {status}")


def test_a_wrong_path_exits_with_14_and_names_the_right_one(smoke, backend):
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{backend.url}/otel?token=QUERYSECRET",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc",
    }

    report = smoke(env)

    assert (report.exit_code, report.outcome) == (14, "elsewhere")
    assert f"try {backend.url}{OTLP}" in report.message
    assert "QUERYSECRET" not in report.as_json()


def test_a_host_that_accepts_traces_nowhere_exits_with_14(smoke):
    with otlp_server() as server:
        server.reply = lambda number: Reply(404)
        report = smoke({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{server.url}/api"})

    assert (report.exit_code, report.outcome) == (14, "path")
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in report.advice


def test_a_redirect_exits_with_14_and_names_its_destination_without_secrets(smoke, backend):
    backend.export = lambda body: (
        308,
        "https://user:LOCATIONSECRET@langfuse.example.com/otel?LOCATIONSECRET",
    )

    report = smoke(backend.env)

    assert report.exit_code == 14
    assert "try https://langfuse.example.com/otel" in report.message
    assert "LOCATIONSECRET" not in report.as_json()


def test_a_failing_target_exits_with_15(smoke, backend):
    backend.export = lambda body: (500, {"error": "Failed to upload JSON to S3"})

    report = smoke(backend.env)

    assert (report.exit_code, report.message) == (15, "the target failed: 500")


@pytest.mark.slow
def test_a_target_that_fails_only_for_the_trace_exits_with_15(smoke, backend):
    backend.export = lambda body: (500, {}) if body else None

    report = smoke(backend.env)

    assert report.exit_code == 15
    assert report.message.endswith(": 500")


@pytest.mark.slow
def test_a_target_that_rejects_keys_only_for_the_trace_exits_with_13(smoke, backend):
    backend.export = lambda body: (401, {}) if body else None

    assert smoke(backend.env).exit_code == 13


def test_a_target_that_rejects_the_trace_exits_with_15(smoke, backend):
    backend.export = lambda body: (400, {}) if body else None

    report = smoke(backend.env)

    assert report.exit_code == 15
    assert report.message.endswith("400: the target rejects what it gets")


@pytest.mark.slow
def test_a_target_that_never_answers_exits_with_15_in_bounded_time(smoke, backend):
    backend.export = lambda body: (-1, {})

    report = smoke(backend.env, timeout=3.0)

    assert report.exit_code == 15
    assert report.message.endswith("accepted the request but did not answer in time")


def test_a_server_that_hangs_up_or_does_not_speak_http_exits_with_15(smoke, backend):
    def hang_up(connection: socket.socket) -> None:
        read_request(connection)
        connection.close()

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"220 mail.example.com ESMTP\r\n")
        connection.close()

    for script, ending in ((hang_up, "closed the connection without an answer"), (talk, "is not HTTP")):
        with raw_server(script) as port:
            report = smoke(langfuse(f"http://127.0.0.1:{port}", backend))
        assert report.exit_code == 15
        assert report.message.endswith(ending)


def test_grpc_faults_have_the_same_exit_codes(smoke):
    pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import aborting, grpc_server

    def env(endpoint: str) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}

    assert smoke(env("http://collector.invalid:4317")).exit_code == 10
    with refusing_port() as port:
        assert smoke(env(f"http://127.0.0.1:{port}")).exit_code == 11
    for code, expected in (("UNAUTHENTICATED", 13), ("UNIMPLEMENTED", 14), ("INTERNAL", 15)):
        with grpc_server(aborting(code, times=9)) as (_, port):
            report = smoke(env(f"http://127.0.0.1:{port}"))
            assert report.exit_code == expected
            assert "canary words" not in report.as_json()
            assert smoke(env(f"https://127.0.0.1:{port}")).exit_code == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("PERMISSION_DENIED", 13), ("UNAUTHENTICATED", 13), ("UNIMPLEMENTED", 14), ("UNAVAILABLE", 15)],
)
def test_grpc_codes_given_only_for_the_trace_have_the_same_exit_codes(smoke, code, exit_code):
    grpc = pytest.importorskip("grpc", reason="the extra grpc")
    from tests.delivery.test_otlp_grpc import grpc_server

    def fail(_number, body, context) -> None:
        if body:
            context.abort(getattr(grpc.StatusCode, code), "canary words")

    with grpc_server(fail) as (_, port):
        report = smoke(
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            }
        )

    assert report.exit_code == exit_code
    assert report.message.endswith(f": {code}")
    assert "canary words" not in report.as_json()


def test_grpc_without_its_extra_exits_with_2(smoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)

    report = smoke({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "SOMATRACE_TARGET": "otlp"})

    assert (report.exit_code, report.outcome) == (2, "off")
    assert "somatrace[grpc]" in report.message
