"""`init_tracing` in separate processes: once, quietly, without affecting the program."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.pipeline.sdk_form import is_known
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program

CALL = """
from somatrace import init_tracing, span, bind, flush, status
init_tracing("orchestrator")
with bind(tenant_id="acme"), span("work"):
    pass
assert flush(60)
"""


def test_one_line_is_enough_for_tagged_spans_to_arrive() -> None:
    with otlp_server() as server:
        done = run_program(CALL, otlp_env(server.url))
        (work,) = server.wait_for(1)
    assert (done.stdout, done.stderr) == ("", "")
    assert work.resource["service.name"] == "orchestrator"
    assert work.attributes["tenant_id"] == "acme"
    assert work.attributes["agent_id"] == "orchestrator"


def test_a_langfuse_target_gets_basic_auth_the_ingestion_version_and_its_own_path() -> None:
    with otlp_server() as server:
        env = {
            "LANGFUSE_BASE_URL": server.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
            "LANGFUSE_SECRET_KEY": "sk-lf-1",
        }
        run_program(CALL, env)
        server.wait_for(1)
        headers, path = server.headers[0], server.paths[0]
    assert path == "/api/public/otel/v1/traces"
    assert headers["authorization"] == "Basic cGstbGYtMTpzay1sZi0x"
    assert headers["x-langfuse-ingestion-version"] == "4"
    assert headers["content-type"] == "application/x-protobuf"


def test_repeating_the_same_name_does_nothing_and_another_name_logs_a_warning() -> None:
    done = run_program(
        """
        from somatrace import init_tracing, status
        init_tracing("a"); init_tracing("a"); init_tracing("b"); init_tracing("b")
        print(status().service)
        """,
        {"SOMATRACE_TARGET": "none"},
    )
    assert done.stdout == "a\n"
    assert done.stderr.count("already traced as") == 2


def test_many_threads_may_call_it_at_once() -> None:
    done = run_program(
        """
        import threading
        from opentelemetry import trace
        from somatrace import init_tracing, status
        gate = threading.Barrier(8)
        def call():
            gate.wait(); init_tracing("svc")
        threads = [threading.Thread(target=call) for _ in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        print(type(trace.get_tracer_provider()).__name__, status().problems)
        """,
        {"SOMATRACE_TARGET": "none"},
    )
    assert done.stdout == "SomatraceProvider ()\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "setting",
    [
        {"SOMATRACE_TARGET": "mars"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "not a url"},
        {"LANGFUSE_SECRET_KEY": "", "LANGFUSE_PUBLIC_KEY": "pk-lf-alone"},
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        },
        {"LANGFUSE_SAMPLE_RATE": "7"},
        {"SOMATRACE_QUEUE_SIZE": "-3"},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "many"},
        {"SOMATRACE_DATA_DIR": "/proc/no/such/place"},
        {"SOMATRACE_LANGFUSE_SECRET_KEY_FILE": "/no/such/file"},
    ],
)
def test_a_bad_setting_is_reported_by_name_and_the_program_runs(setting) -> None:
    done = run_program(
        """
        import json
        from somatrace import init_tracing, span, status
        init_tracing("svc")
        with span("work"):
            pass
        print(json.dumps(status().problems))
        """,
        setting,
    )
    name = next(iter(setting))
    problems = json.loads(done.stdout)
    assert any(name in problem for problem in problems), problems
    assert sum(name in line for line in done.stderr.splitlines()) >= 1
    assert "Traceback" not in done.stderr


def test_an_unknown_argument_is_a_type_error() -> None:
    done = run_program("from somatrace import init_tracing; init_tracing('a', colour='red')", check=False)
    assert "TypeError" in done.stderr


def test_disabled_tracing_sets_no_provider_and_the_api_still_works() -> None:
    done = run_program(
        """
        from opentelemetry import trace
        from somatrace import init_tracing, span, bind, event, usage, fail, content, flush, shutdown, status
        init_tracing("svc")
        with bind(tenant_id="a"), span("w") as w:
            event("e"); usage(model="m"); content(input="x"); fail("c")
        print(type(trace.get_tracer_provider()).__name__, flush(1), shutdown(1), status().enabled)
        """,
        {"SOMATRACE_ENABLED": "false"},
    )
    assert done.stdout == "ProxyTracerProvider True True False\n"


def test_without_configuration_spans_go_to_the_local_store(tmp_path) -> None:
    done = run_program(
        """
        from somatrace import init_tracing, span, flush, status
        init_tracing("svc")
        with span("work"):
            pass
        print(flush(60), status().delivered, status().target)
        """,
        {"SOMATRACE_DATA_DIR": str(tmp_path)},
    )
    assert done.stdout == "True 1 local\n"
    with closing(FreshStore(tmp_path)) as store:
        names = store.read(lambda connection: connection.execute("SELECT name FROM spans").fetchall())
    assert names == [("work",)]


@pytest.mark.usefixtures("unmeasured")  # coverage itself imports sqlite3
def test_the_local_target_imports_no_database_and_no_protobuf(tmp_path) -> None:
    done = run_program(
        """
        import sys
        from somatrace import init_tracing, span, shutdown, status
        init_tracing("svc")
        with span("work"):
            pass
        print(shutdown(60), {"sqlite3", "google.protobuf"} & sys.modules.keys())
        """,
        {"SOMATRACE_DATA_DIR": str(tmp_path)},
    )
    assert done.stdout == "True set()\n"


@pytest.mark.skipif(not is_known(), reason="the oldest supported SDK loads importlib.metadata itself")
@pytest.mark.usefixtures("unmeasured")  # coverage imports some of them
def test_the_start_loads_nothing_that_only_instrumented_libraries_need() -> None:
    done = run_program(
        """
        import sys
        from somatrace import init_tracing
        init_tracing("svc")
        slow = {"wrapt", "asyncio", "importlib.metadata", "decimal", "tempfile", "google.protobuf", "ssl"}
        print(slow & sys.modules.keys())
        """,
        {"SOMATRACE_TARGET": "local"},
    )
    assert done.stdout == "set()\n"


def test_status_shows_the_target_and_no_secret() -> None:
    with otlp_server() as server:
        env = {
            "LANGFUSE_BASE_URL": server.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
            "LANGFUSE_SECRET_KEY": "sk-lf-canary",
        }
        done = run_program(CALL + "print(repr(status()))", env)
    assert "delivered=1" in done.stdout
    assert "available=True" in done.stdout
    assert server.url in done.stdout
    assert "sk-lf-canary" not in done.stdout
    assert "c2stbGYtY2FuYXJ5" not in done.stdout


def test_the_guard_and_the_check_import_without_opentelemetry() -> None:
    done = run_program(
        """
        import sys
        import somatrace, somatrace.guard
        heavy = ("opentelemetry", "google", "requests")
        print(sorted(name for name in sys.modules if name.split(".")[0] in heavy))
        """
    )
    assert done.stdout == "[]\n"


def test_the_resource_has_service_environment_and_kubernetes_but_no_command_line() -> None:
    with otlp_server() as server:
        env = otlp_env(
            server.url,
            OTEL_RESOURCE_ATTRIBUTES="k8s.pod.name=p-1,k8s.namespace.name=ai,service.version=2.3",
            SOMATRACE_ENVIRONMENT="staging",
        )
        run_program(CALL, env)
        (work,) = server.wait_for(1)
    resource = work.resource
    assert resource["k8s.pod.name"] == "p-1"
    assert resource["service.version"] == "2.3"
    assert resource["deployment.environment.name"] == "staging"
    assert isinstance(resource["process.pid"], int)
    assert not [key for key in resource if key.startswith("process.command")]


def test_a_limit_that_breaks_the_sdks_import_disables_tracing_but_not_the_program() -> None:
    done = run_program(
        """
        from somatrace import init_tracing, span, status
        init_tracing("svc")
        with span("work"):
            print("worked")
        reason, effect = status().problems
        assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: use a whole number" in reason, reason
        assert "tracing is off" in effect, effect
        """,
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "abc"},
    )
    assert done.stdout == "worked\n"
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("OTEL_PROPAGATORS", "b3,tracecontext"), ("OTEL_PYTHON_TRACER_PROVIDER", "a_distribution_that_is_gone")],
)
def test_components_that_opentelemetry_cannot_load_do_not_disable_tracing(name: str, value: str) -> None:
    with otlp_server() as server:
        done = run_program(CALL + "print(status().problems)", otlp_env(server.url, **{name: value}))
        (work,) = server.wait_for(1)
    assert work.attributes["tenant_id"] == "acme"
    assert "tracing is off" not in done.stderr
    assert (name in done.stdout) == (name == "OTEL_PROPAGATORS")
    assert done.stderr.count("Traceback") <= 1  # logged by the API for a provider that cannot be loaded


def test_without_a_writable_directory_the_program_runs_and_the_problem_names_the_setting() -> None:
    done = run_program(
        """
        import os, resource
        # no file can be written, as on a read-only file system, and there is no home
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        os.environ.update(HOME="/proc", SOMATRACE_DATA_DIR="")
        from somatrace import *
        init_tracing("hardened")
        with span("work"):
            pass
        flush(60)
        print(status().problems, dict(status().lost))
        """
    )
    assert "SOMATRACE_DATA_DIR" in done.stdout
    assert "'no_target': 1" in done.stdout


def test_the_console_exporter_writes_one_guarded_json_line_per_span_and_none_writes_nothing() -> None:
    source = """
from somatrace import bind, flush, init_tracing, span
init_tracing("svc")
with bind(tenant_id="acme"), span("work") as current:
    current.set_attribute("gen_ai.input.messages", "canary")
flush(60)
"""
    (line,) = run_program(source, {"OTEL_TRACES_EXPORTER": "console"}).stdout.splitlines()
    assert json.loads(line)["span"]["name"] == "work"
    assert {"key": "tenant_id", "value": {"stringValue": "acme"}} in json.loads(line)["span"]["attributes"]
    assert "canary" not in line
    assert run_program(source, {"OTEL_TRACES_EXPORTER": "none"}).stdout == ""


def test_the_default_tenant_labels_spans_without_a_bound_tenant() -> None:
    with otlp_server() as server:
        run_program(
            """
            from somatrace import bind, flush, init_tracing, span, status
            init_tracing("svc")
            with span("nobody's"):
                pass
            with bind(tenant_id="acme"), span("somebody's"):
                pass
            assert flush(60)
            assert status().unknown_tenant == 1
            """,
            otlp_env(server.url, SOMATRACE_DEFAULT_TENANT="platform"),
        )
        tenants = {found.name: found.attributes["tenant_id"] for found in server.spans}
    assert tenants == {"nobody's": "platform", "somebody's": "acme"}
