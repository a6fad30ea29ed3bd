"""Log records that OpenTelemetry exports carry no content, under `opentelemetry-instrument` too."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.otlp_server import otlp_server

SOURCE = """
    import logging
    from somatrace import init_tracing, bind
    log = logging.getLogger("app")
    log.warning("before")  # its OpenTelemetry logger is older than the guard
    init_tracing("svc")

    def failing():
        try:
            raise ValueError("canary-cause")
        except ValueError as error:
            raise RuntimeError("canary-text") from error

    with bind(tenant_id="acme"):
        try:
            failing()
        except RuntimeError as error:
            log.exception("with a stack")
            log.error("formatted: %s", error)
            log.error(error)
            log.error(f"of the cause: {error.__cause__}")
        log.error("later", exc_info=RuntimeError("canary-later"))
        log.warning("a key: %s", "sk-proj-" + "aB3" * 16)
        log.warning("plain words of the program")

    from opentelemetry._logs import get_logger, LogRecord
    get_logger("genai").emit(LogRecord(body={"content": "canary-body"}, attributes={"n": 7}))
    """


@pytest.mark.slow
@pytest.mark.parametrize("content", ["never", None], ids=["never", "default"])
def test_exported_log_records_have_no_texts_of_exceptions(tmp_path: Path, content: str | None) -> None:
    script = tmp_path / "prog.py"
    script.write_text(textwrap.dedent(SOURCE))
    with otlp_server() as server:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(script)],
            env={
                **os.environ,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "otlp",
                "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",
                "SOMATRACE_TARGET": "none",
                **({"SOMATRACE_CONTENT": content} if content else {}),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        sent = server.bytes

    assert done.returncode == 0, done.stderr
    assert "/v1/logs" in server.paths
    for kept in (
        b"before",
        b"with a stack",
        b"later",
        b"RuntimeError",
        b"plain words of the program",
        b"[OPENAI",
    ):
        assert kept in sent, kept
    assert b"canary" not in sent
    assert b"aB3aB3" not in sent
