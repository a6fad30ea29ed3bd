"""Doctor's findings about settings and the target."""

from __future__ import annotations

import sys

import pytest

from somatrace.delivery.batch import Batch
from somatrace.delivery.local_store import LocalTransport
from somatrace.delivery.send_result import SendResult
from tests.delivery.support import batch, dead_letters_in
from tests.doctor.conftest import CANARY
from tests.support.otlp_server import Reply, otlp_server
from tests.support.ports import refusing_port


def texts(diagnosis, kind: str) -> list[str]:
    return [finding.text for finding in diagnosis.findings if finding.kind == kind]


def level(diagnosis, kind: str) -> str:
    return next(finding.level for finding in diagnosis.findings if finding.kind == kind)


def settings(diagnosis) -> dict[str, tuple[str, str]]:
    return {line.setting: (line.value, line.source) for line in diagnosis.settings}


def test_every_setting_is_shown_with_its_source_and_secrets_are_masked(doctor):
    env = {
        "LANGFUSE_HOST": "http://127.0.0.1:9",
        "LANGFUSE_PUBLIC_KEY": f"pk-lf-{CANARY}",
        "LANGFUSE_SECRET_KEY": f"sk-lf-{CANARY}",
        "SOMATRACE_PSEUDONYM_KEY": CANARY,
        "SOMATRACE_TRUST_KEYS": "a:" + "QUFB" * 8,
        "SOMATRACE_HEADERS": f"x-token={CANARY}",
        "SOMATRACE_SAMPLE_RATE": "0.5",
    }

    shown = settings(doctor(env))

    assert shown["target"] == ("langfuse", "LANGFUSE_HOST")
    assert shown["langfuse_secret_key"] == ("****", "LANGFUSE_SECRET_KEY")
    assert shown["sample_rate"] == ("0.5", "SOMATRACE_SAMPLE_RATE")
    assert shown["trust_keys"][0] == "****"
    assert shown["timeout"] == ("10.0", "default")
    assert "x-token=****" in shown["headers"][0]


def test_a_secret_in_the_wrong_setting_is_masked_too(doctor):
    secret = f"sk-proj-{CANARY}abcdefghijklmnopqrstuvwxyz0123456789"
    env = {
        "OTEL_RESOURCE_ATTRIBUTES": f"k8s.pod.name=pod-7,debug={secret}",
        "SOMATRACE_RELEASE": f"2026.11 password={CANARY}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://10.1.2.3:4318",
    }

    diagnosis = doctor(env)

    shown = settings(diagnosis)
    assert shown["resource_attributes"][0].startswith("k8s.pod.name=pod-7,debug=[")
    assert shown["endpoint"][0] == "http://10.1.2.3:4318/v1/traces"
    assert CANARY not in diagnosis.as_json()
    assert CANARY not in "\n".join(diagnosis.lines())


def test_without_configuration_it_reports_the_local_store_and_nothing_wrong(doctor, tmp_path):
    diagnosis = doctor({})

    assert texts(diagnosis, "local_default") == [
        f"nothing configured: spans go to the local store at {tmp_path / 'somatrace-data' / 'local.db'}"
    ]
    assert texts(diagnosis, "store_empty") == ["the store is empty; at most 256 MB, kept for 7 days"]
    assert diagnosis.exit_code == 0
    assert not (tmp_path / "somatrace-data" / "local.db").exists()


def test_it_reports_the_stores_contents_and_limits(doctor, tmp_path):
    directory = tmp_path / "somatrace-data"
    directory.mkdir()
    transport = LocalTransport(str(directory), 1 << 30, 7.0)
    transport.send(batch("a", "b"), 1.0)
    transport.close()

    diagnosis = doctor({"SOMATRACE_LOCAL_MAX_BYTES": "10M", "SOMATRACE_LOCAL_MAX_DAYS": "2"})

    [line] = texts(diagnosis, "store")
    assert line.startswith("the store contains 2 spans in 2 traces, ")
    assert line.endswith(" of at most 10 MB, kept for 2 days")


def test_it_reports_where_undelivered_spans_wait_and_their_limits(doctor, tmp_path):
    diagnosis = doctor(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "SOMATRACE_SPOOL_MAX_BYTES": "8M",
            "SOMATRACE_SPOOL_MAX_DAYS": "2.5",
        }
    )

    [line] = texts(diagnosis, "waiting")
    assert str(tmp_path / "somatrace-data") in line
    assert "at most 8 MB (SOMATRACE_SPOOL_MAX_BYTES) for 2.5 days (SOMATRACE_SPOOL_MAX_DAYS)" in line


def test_it_reports_that_spans_wait_in_memory_only_where_the_disk_is_not_wanted(doctor):
    diagnosis = doctor(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "SOMATRACE_SPOOL_MAX_BYTES": "0",
            "SOMATRACE_QUEUE_BYTES": "8M",
            "OTEL_BSP_MAX_QUEUE_SIZE": "4096",
        }
    )

    assert texts(diagnosis, "waiting_in_memory") == [
        (
            "while the target is unavailable, spans wait in memory, at most "
            "8 MB (SOMATRACE_QUEUE_BYTES) plus 4,096 not yet encoded (SOMATRACE_QUEUE_SIZE)"
        )
    ]


def test_it_says_where_no_directory_can_be_written(doctor, tmp_path):
    (tmp_path / "a file").write_bytes(b"")

    diagnosis = doctor(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "SOMATRACE_DATA_DIR": str(tmp_path / "a file"),
        }
    )

    assert level(diagnosis, "nowhere_to_wait") == "note"


def test_spans_for_the_local_store_wait_in_memory_too(doctor):
    [waiting] = texts(doctor({}), "waiting_in_memory")

    assert waiting.startswith("while the target is unavailable, spans wait in memory")
    assert "64 MB (SOMATRACE_QUEUE_BYTES) plus 131,072 not yet encoded (SOMATRACE_QUEUE_SIZE)" in waiting


def test_an_unreadable_store_is_wrong(doctor, tmp_path):
    directory = tmp_path / "somatrace-data"
    (directory / "local.db").mkdir(parents=True)

    assert level(doctor({}), "store_broken") == "wrong"


def test_an_unusable_data_directory_is_wrong(doctor):
    diagnosis = doctor({"SOMATRACE_DATA_DIR": "/proc/no/such"})

    assert level(diagnosis, "no_directory") == "wrong"
    assert diagnosis.exit_code == 1


def test_setting_problems_are_wrong_and_variables_without_effect_are_noted(doctor):
    diagnosis = doctor({"SOMATRACE_SAMPLE_RATE": "7", "TRACELOOP_BASE_URL": "https://example.com"})

    assert texts(diagnosis, "problem")[0].startswith("setting: SOMATRACE_SAMPLE_RATE: ")
    assert texts(diagnosis, "unused")[0].startswith("TRACELOOP_BASE_URL has no effect: not read")
    assert "TRACELOOP_BASE_URL" not in settings(diagnosis)
    assert diagnosis.exit_code == 1


def test_an_unusable_policy_file_is_wrong(doctor, tmp_path):
    (tmp_path / "policy.toml").write_text('default = "everything"\n')

    assert (
        level(doctor({"SOMATRACE_CONTENT_POLICY_FILE": str(tmp_path / "policy.toml")}), "policy") == "wrong"
    )


def test_an_unusable_price_file_is_wrong(doctor, tmp_path):
    (tmp_path / "prices.json").write_text('{"prices": [{"model": "own", "prices": {"input": -1}}]}')

    assert level(doctor({"SOMATRACE_PRICES_FILE": str(tmp_path / "prices.json")}), "prices") == "wrong"


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        ({"SOMATRACE_ENABLED": "false"}, "off"),
        ({"SOMATRACE_TARGET": "none"}, "nothing_sent"),
        ({"SOMATRACE_TARGET": "console"}, "console"),
        ({"SOMATRACE_TARGET": "local"}, "local"),
    ],
)
def test_a_deliberate_choice_is_not_wrong(doctor, env, kind):
    diagnosis = doctor(env)

    assert (
        texts(diagnosis, kind)[0].endswith(f"({next(iter(env))})")
        or next(iter(env)) in texts(diagnosis, kind)[0]
    )
    assert diagnosis.exit_code == 0


def test_the_target_is_probed_once_with_an_empty_export(doctor):
    with otlp_server() as server:
        diagnosis = doctor({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})

        assert server.raw == [b""]
    assert texts(diagnosis, "answers")[0].startswith("the target answers: 200 in ")
    assert diagnosis.exit_code == 0


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (404, "path"), (302, "path"), (503, "server")])
def test_target_faults_are_distinguished(doctor, status, kind):
    with otlp_server() as server:
        server.reply = lambda number: Reply(status, CANARY.encode())
        diagnosis = doctor({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})

    assert level(diagnosis, kind) == "wrong"
    assert diagnosis.exit_code == 1


def test_a_wrong_path_is_reported_with_a_working_one(doctor):
    with otlp_server() as server:
        server.reply = lambda number: Reply(200 if server.paths[number].startswith("/v1/traces") else 404)
        diagnosis = doctor({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{server.url}/traces?key={CANARY}"})

        assert texts(diagnosis, "elsewhere") == [
            f"{server.url}/traces does not accept traces: 404; try {server.url}/v1/traces"
        ]


def test_dns_failures_and_closed_ports_are_distinguished(doctor):
    assert level(doctor({"SOMATRACE_ENDPOINT": "http://collector.invalid"}), "dns") == "wrong"
    with refusing_port() as port:
        assert level(doctor({"SOMATRACE_ENDPOINT": f"http://127.0.0.1:{port}"}), "refused") == "wrong"


@pytest.mark.slow
def test_a_target_that_never_answers_does_not_hang_doctor(doctor):
    with otlp_server() as server:
        server.reply = lambda number: Reply(delay=-1)
        diagnosis = doctor({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}, timeout=5.0)  # also to connect

    assert "did not answer in time" in texts(diagnosis, "server")[0]


@pytest.mark.parametrize(
    ("host", "wrong"),
    [
        ("collector.example.invalid", True),
        ("collector", False),
        ("collector.observability.svc", False),
        ("localhost", False),
    ],
)
def test_plain_http_to_a_host_outside_machine_and_cluster_is_wrong(doctor, host, wrong):
    diagnosis = doctor({"SOMATRACE_ENDPOINT": f"http://{host}:1/v1/traces"}, timeout=1.0)

    assert bool(texts(diagnosis, "clear_text")) is wrong


def test_plain_http_is_reported_once_when_a_setting_problem_covers_it(doctor):
    diagnosis = doctor(
        {"SOMATRACE_ENDPOINT": "http://collector.example.invalid", "SOMATRACE_HEADERS": f"x-token={CANARY}"},
        timeout=1.0,
    )

    assert "plain http" in texts(diagnosis, "problem")[0]
    assert texts(diagnosis, "clear_text") == []


def test_grpc_without_its_extra_is_wrong(doctor, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)

    diagnosis = doctor(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    )

    assert level(diagnosis, "grpc_missing") == "wrong"


def test_exit_code_1_for_wrong_takes_precedence_over_3_for_unknown(doctor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert doctor({}, app="nothing:app").exit_code == 3
    assert doctor({"SOMATRACE_SAMPLE_RATE": "7"}, app="nothing:app").exit_code == 1


def langfuse(url: str) -> dict[str, str]:
    return {"LANGFUSE_HOST": url, "LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}


def test_send_sends_one_span_without_content_and_names_its_trace(doctor):
    with otlp_server() as server:
        diagnosis = doctor(langfuse(server.url), send=True)

    [span] = server.spans
    [line] = texts(diagnosis, "sent")
    assert span.trace_id in line
    tags = {"tenant_id": "somatrace-doctor", "workflow_name": "doctor"}
    assert span.attributes == {
        **tags,
        **{f"langfuse.trace.metadata.{name}": value for name, value in tags.items()},
        "langfuse.trace.name": "doctor",
        "langfuse.trace.tags": ["tenant:somatrace-doctor", "workflow:doctor"],
    }


def test_send_tries_the_local_store_too(doctor, tmp_path):
    usual, sending = doctor({}), doctor({}, send=True)

    assert texts(usual, "sent") == []
    [line] = texts(sending, "sent")
    assert line.endswith("tenant somatrace-doctor")
    assert "1 spans in 1 traces" in texts(doctor({}), "store")[0]


def test_a_target_whose_storage_fails_is_wrong_only_with_send(doctor):
    with otlp_server() as server:
        usual = doctor(langfuse(server.url))
    with otlp_server() as server:
        server.reply = lambda number: Reply(200 if number == 0 else 500)
        sending = doctor(langfuse(server.url), send=True)

    assert usual.exit_code == 0
    [answers] = texts(usual, "answers")
    assert answers.endswith(
        "to an export without spans, which does not test its storage (--send does, with one span)"
    )
    assert sending.exit_code == 1
    assert level(sending, "server") == "wrong"
    assert texts(sending, "server")[0].endswith(": 500, to one span")


@pytest.mark.parametrize(
    ("variable", "more"),
    [("LANGFUSE_HOST", {}), ("OTEL_EXPORTER_OTLP_ENDPOINT", {"SOMATRACE_TARGET": "otlp"})],
)
def test_send_names_the_variable_of_a_target_that_rejects_every_span(doctor, variable, more):
    with otlp_server() as server:
        server.reply = lambda _: Reply(400, CANARY.encode())
        environ = langfuse(server.url) if not more else {**more, variable: server.url}
        diagnosis = doctor(environ, send=True)

    assert diagnosis.exit_code == 1
    [rejects] = [found for found in diagnosis.findings if found.kind == "rejects"]
    assert "400" in rejects.text
    assert f"check that {variable} is the address of the target" in rejects.advice


@pytest.mark.parametrize("status", [400, 422])
def test_without_send_a_target_that_rejects_an_export_without_spans_is_not_said_to_be_ok(doctor, status):
    with otlp_server() as server:
        server.reply = lambda _: Reply(status, CANARY.encode())
        diagnosis = doctor(langfuse(server.url))

    assert diagnosis.exit_code == 3
    assert texts(diagnosis, "answers") == []
    assert level(diagnosis, "rejects_nothing") == "unknown"
    [text] = texts(diagnosis, "rejects_nothing")
    assert text.startswith(f"the target answers {status} to an export without spans; no span was sent, ")
    [advice] = [found.advice for found in diagnosis.findings if found.kind == "rejects_nothing"]
    assert "check that LANGFUSE_HOST is its address" in advice


def test_a_target_that_rejects_only_exports_without_spans_is_ok_with_send(doctor):
    with otlp_server() as server:
        server.reply = lambda number: Reply(200 if number else 400)
        diagnosis = doctor(langfuse(server.url), send=True)

    assert diagnosis.exit_code == 0
    assert texts(diagnosis, "rejects_nothing") == []
    assert len(texts(diagnosis, "sent")) == 1


def test_spans_that_a_target_did_not_accept_are_noted(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("SOMATRACE_DATA_DIR", str(tmp_path))
    with otlp_server() as server:
        usual = doctor(langfuse(server.url))
        for name in ("one", "two"):
            rejected = SendResult("rejected", status="400")
            assert dead_letters_in(tmp_path).add(Batch(batch(name), 1, 0.0), rejected)
        after = doctor(langfuse(server.url))

    assert texts(usual, "dead_letters") == []
    assert texts(after, "dead_letters") == [
        f"2 spans that their target did not accept are kept in {tmp_path}"
    ]
    assert level(after, "dead_letters") == "note"
    assert after.exit_code == 0


def test_without_send_nothing_is_stored_in_the_target(doctor):
    with otlp_server() as server:
        doctor(langfuse(server.url))

    assert server.spans == []
