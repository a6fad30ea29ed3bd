"""Unusual host processes: any Python options, missing resources. The program runs and nothing is printed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipapp
from pathlib import Path

import pytest

import somatrace
from tests.support.otlp_server import otlp_server
from tests.support.programs import PATIENT, otlp_env, run_program

PROGRAM = """
import somatrace
from somatrace import *
init_tracing("host")
with bind(tenant_id="acme"), span("work", kind="workflow"):
    event("happened", number=1)
    try:
        with span("bad"):
            raise ValueError("text")
    except ValueError:
        pass
flush(60)  # an exit waits a second, in which a busy machine may not get to it
"""
#: The oldest supported SDK causes this warning on import.
STRICT = ("-W", "error", "-W", "ignore:SelectableGroups dict interface:DeprecationWarning")


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


def arrived(server) -> list[str]:
    return sorted(span.name for span in server.wait_for(2))


@pytest.mark.parametrize(
    "options", [STRICT, ("-X", "dev", *STRICT), ("-O",), ("-OO",), ("-bb",), ("-E", "-P")], ids=" ".join
)
def test_nothing_is_printed_with_any_python_options(server, options) -> None:
    done = run_program(PROGRAM, otlp_env(server.url), python_options=options)
    assert (done.stdout, done.stderr) == ("", "")
    assert arrived(server) == ["bad", "work"]


def test_a_program_read_from_standard_input_is_traced(server) -> None:
    done = subprocess.run(
        [sys.executable, "-"],
        input=PROGRAM,
        env={**os.environ, **otlp_env(server.url)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert arrived(server) == ["bad", "work"]


def test_the_package_runs_from_a_zip_archive(server, tmp_path) -> None:
    source = tmp_path / "app"
    source.mkdir()
    package = Path(somatrace.__file__).parent
    for path in package.rglob("*.py"):
        copy = source / "somatrace" / path.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (source / "__main__.py").write_text(PROGRAM + "print(somatrace.__file__)")
    zipapp.create_archive(source, tmp_path / "app.pyz")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "app.pyz")],
        env={**os.environ, **otlp_env(server.url)},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert "app.pyz" in done.stdout
    assert done.stderr == ""
    assert arrived(server) == ["bad", "work"]


def test_a_deleted_working_directory_does_not_matter(server, tmp_path) -> None:
    done = run_program(
        f"""
        import os
        gone = {str(tmp_path / "gone")!r}
        os.mkdir(gone)
        os.chdir(gone)
        os.rmdir(gone)
        """
        + PROGRAM.replace("\n", "\n        "),
        otlp_env(server.url),
        directory=tmp_path,  # a script: with `-c` Python 3.13 itself cannot import anything
    )
    assert done.stderr == ""
    assert arrived(server) == ["bad", "work"]


def test_tracing_works_without_standard_streams(server, tmp_path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = f'exec "{sys.executable}" "{script}" <&- >&- 2>&-'
    env = {**os.environ, **otlp_env(server.url)}
    assert subprocess.run(["sh", "-c", command], env=env, timeout=180, check=False).returncode == 0
    assert arrived(server) == ["bad", "work"]


def test_a_process_out_of_file_descriptors_continues_and_delivers_its_spans_later(server) -> None:
    done = run_program(
        """
        import os, resource
        from somatrace import *
        init_tracing("host")
        with span("before"):
            pass
        assert flush(60)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for _ in range(100):
            with span("meanwhile"):
                pass
        flush(0.5)
        for descriptor in held:
            os.close(descriptor)
        assert flush(60), status()
        assert status().delivered == 101, status()
        """,
        otlp_env(server.url),
    )
    assert "Traceback" not in done.stderr


def test_spans_are_sent_at_exit_if_no_thread_can_start(server) -> None:
    done = run_program(
        """
        import threading
        def refuse(*args, **kwargs):
            raise RuntimeError("can't start new thread")
        threading._start_new_thread = threading._start_joinable_thread = refuse
        """
        + PROGRAM.replace("\n", "\n        "),
        otlp_env(server.url),
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert arrived(server) == ["bad", "work"]


def test_threads_that_create_spans_during_exit_print_nothing(server) -> None:
    program = """
        import threading, time
        from somatrace import *
        init_tracing("host")
        def forever():
            while True:
                with bind(tenant_id="acme"), span("endless"):
                    time.sleep(0.0005)
        for _ in range(4):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.05)
        """

    done = run_program(PATIENT + textwrap.dedent(program), otlp_env(server.url), python_options=STRICT)

    assert (done.stdout, done.stderr) == ("", "")


def test_a_second_copy_of_the_package_reports_itself_and_sends_nothing_twice(server) -> None:
    done = run_program(
        """
        import sys
        import somatrace as first
        first.init_tracing("host")
        for name in [name for name in sys.modules if name.partition(".")[0] == "somatrace"]:
            del sys.modules[name]
        import somatrace as second
        assert second is not first
        second.init_tracing("host")
        with second.span("work"):
            pass
        assert first.flush(60)
        assert second.flush(60)
        print(second.status().unprotected)
        """,
        otlp_env(server.url),
    )
    assert "another copy of somatrace" in done.stdout
    assert [span.name for span in server.spans] == ["work"]
    assert "Traceback" not in done.stderr


def test_environment_changes_after_init_have_no_effect(server) -> None:
    run_program(
        """
        import os
        from somatrace import *
        init_tracing("host")
        os.environ.update(SOMATRACE_ENABLED="false", SOMATRACE_TARGET="none", OTEL_SDK_DISABLED="true",
                          OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", SOMATRACE_CONTENT="redacted")
        with span("work"):
            content(input="canary")
        assert flush(60), status()
        """,
        otlp_env(server.url),
    )
    assert [span.name for span in server.spans] == ["work"]
    assert b"canary" not in server.bytes


def test_a_clock_that_jumps_back_loses_no_span(server) -> None:
    run_program(
        """
        from opentelemetry import trace
        from somatrace import *
        init_tracing("host")
        tracer = trace.get_tracer("host")
        now = 1_700_000_000_000_000_000
        tracer.start_span("back", start_time=now).end(now - 3_600_000_000_000)
        tracer.start_span("before the epoch", start_time=-5).end(5)
        tracer.start_span("after").end()
        assert flush(60), status()
        """,
        otlp_env(server.url),
    )
    assert {"back", "after"} <= {span.name for span in server.spans}
