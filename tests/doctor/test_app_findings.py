"""`doctor --app` loads a service as its server would and reports what is actually instrumented."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.doctor.conftest import CANARY


@pytest.fixture
def service(tmp_path: Path, monkeypatch):
    """Write the module `svc` to the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(source: str) -> None:
        (tmp_path / "svc.py").write_text(textwrap.dedent(source))

    return write


def texts(diagnosis, *kinds: str) -> list[str]:
    return [found.text for found in diagnosis.findings if found.kind in kinds]


@pytest.mark.slow
def test_imported_libraries_are_reported_as_instrumented(doctor, service):
    service(
        """
        import openai, httpx
        from fastapi import FastAPI
        from somatrace import init_tracing
        init_tracing("orchestrator")
        app = FastAPI()
        """
    )

    diagnosis = doctor({}, app="svc:app")

    assert texts(diagnosis, "app") == ["svc:app is loaded and traced as orchestrator"]
    lines = texts(diagnosis, "imported")
    for library in ("openai", "httpx", "fastapi", "starlette"):
        assert any(line.startswith(f"{library} ") and line.endswith("instrumented: yes") for line in lines)
    assert not any(line.startswith("anthropic") for line in lines)
    assert diagnosis.exit_code == 0


def test_a_provider_that_the_service_sets_first_is_noted(doctor, service):
    service(
        """
        from fastapi import FastAPI
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        from somatrace import init_tracing
        init_tracing("orchestrator")
        app = FastAPI()
        """
    )

    diagnosis = doctor({}, app="svc:app")

    [noted] = texts(diagnosis, "sdk_spans")
    assert "sets a tracer provider before init_tracing" in noted
    assert diagnosis.exit_code == 0


def test_tracing_set_up_in_the_lifespan_is_detected(doctor, service, tmp_path):
    service(
        """
        from contextlib import asynccontextmanager
        from pathlib import Path
        from fastapi import FastAPI
        from somatrace import init_tracing
        @asynccontextmanager
        async def lifespan(app):
            init_tracing("late")
            yield
            Path("ended").touch()
        def make():
            return FastAPI(lifespan=lifespan)
        """
    )

    diagnosis = doctor({}, app="svc:make", factory=True)

    assert texts(diagnosis, "app") == ["svc:make is loaded and traced as late"]
    assert (tmp_path / "ended").exists()


def test_an_imported_library_without_its_instrumentor_is_wrong(doctor, service, tmp_path):
    # simulate a client whose instrumentor is not installed
    (tmp_path / "somewhere").mkdir()
    service(
        """
        import sys, types, importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *more: (
            None if name == "opentelemetry.instrumentation.openai" else find_spec(name, *more))
        from somatrace import init_tracing
        init_tracing("svc")
        import openai
        """
    )

    diagnosis = doctor({}, app="svc")

    [line] = texts(diagnosis, "imported_without")
    assert line.endswith("instrumented: no (needs `pip install opentelemetry-instrumentation-openai`)")
    assert diagnosis.exit_code == 1


def test_a_service_without_init_tracing_is_wrong(doctor, service):
    service("from fastapi import FastAPI; app = FastAPI()")

    diagnosis = doctor({}, app="svc:app")

    assert texts(diagnosis, "app_untraced") == [
        "svc:app does not call init_tracing, so nothing in it is traced"
    ]
    assert diagnosis.exit_code == 1


def test_a_provider_that_cannot_be_guarded_is_wrong(doctor, service):
    service(
        """
        from opentelemetry import trace
        class Theirs(trace.TracerProvider):
            def get_tracer(self, *args, **kwargs):
                return trace.NoOpTracer()
        trace.set_tracer_provider(Theirs())
        from somatrace import init_tracing
        init_tracing("svc")
        """
    )

    diagnosis = doctor({}, app="svc")

    assert "not the SDK's" in texts(diagnosis, "unprotected")[0]
    assert diagnosis.exit_code == 1


def test_a_litellm_callback_that_bypasses_the_guard_is_wrong(doctor, service):
    service(
        """
        import sys, types
        sys.modules["litellm"] = types.SimpleNamespace(success_callback=["langfuse", print], __spec__=None)
        from somatrace import init_tracing
        init_tracing("svc")
        """
    )

    assert "bypassing the content guard" in texts(doctor({}, app="svc"), "bypass")[0]


def test_fastapis_own_exporters_are_noted(doctor, service):
    pytest.importorskip("fastapi.telemetry", reason="a FastAPI that creates its own spans")
    service(
        """
        from fastapi import FastAPI
        from somatrace import init_tracing
        init_tracing("svc")
        app = FastAPI()
        """
    )

    assert texts(doctor({"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}, app="svc:app"), "own_exporters")


def test_ignored_headers_are_noted_with_their_counts(doctor, service):
    service(
        """
        from somatrace import incoming, init_tracing
        init_tracing("svc")
        with incoming({"traceparent": "nonsense"}):
            pass
        """
    )

    assert texts(doctor({}, app="svc"), "ignored") == [
        "svc ignored incoming headers: traceparent: malformed (1)"
    ]


@pytest.mark.parametrize(
    ("source", "app", "what"),
    [
        ("", "elsewhere:app", "ModuleNotFoundError (elsewhere)"),
        ("", "svc:app", "AttributeError (app)"),
        (f"object().{CANARY.replace('-', '_')}", "svc:app", "AttributeError"),
        (f"raise RuntimeError('{CANARY}')", "svc:app", "RuntimeError"),
        (f"raise SystemExit('{CANARY}')", "svc:app", "SystemExit"),
        ("import os; os._exit(3)", "svc:app", "its process exited with code 3"),
        ("import os; os.kill(os.getpid(), 11)", "svc:app", "its process was killed by SIGSEGV"),
    ],
)
def test_a_service_that_fails_to_load_exits_with_3_and_shows_only_the_error_type(
    doctor, service, source, app, what
):
    service(source)

    diagnosis = doctor({}, app=app)

    assert texts(diagnosis, "app_failed") == [f"{app} could not be loaded: {what}"]
    assert diagnosis.exit_code == 3


START_UP = """
    import asyncio
    from contextlib import asynccontextmanager
    from fastapi import FastAPI
    from somatrace import init_tracing
    init_tracing("svc")
    @asynccontextmanager
    async def lifespan(app):
        {}
        yield
    app = FastAPI(lifespan=lifespan)
    """


def test_a_failed_startup_is_noted_and_the_rest_is_still_reported(doctor, service):
    service(START_UP.format(f"raise ValueError('{CANARY}')"))

    diagnosis = doctor({}, app="svc:app")

    assert "it reported a failure" in texts(diagnosis, "app_startup")[0]
    assert texts(diagnosis, "app")


@pytest.mark.slow
def test_a_slow_startup_is_noted_and_the_rest_is_still_reported(doctor, service):
    service(START_UP.format("await asyncio.sleep(600)"))

    # the time limit includes the imports, which depend on the machine: raise it until they fit
    for seconds in (6.0, 12.0, 24.0, 48.0):
        diagnosis = doctor({}, app="svc:app", timeout=seconds)
        if not texts(diagnosis, "app_slow"):
            break

    assert "it did not finish within" in texts(diagnosis, "app_startup")[0]
    assert texts(diagnosis, "app")


@pytest.mark.slow
def test_a_service_that_hangs_during_import_exits_with_2(doctor, service):
    service("import time; time.sleep(600)")

    diagnosis = doctor({}, app="svc:app", timeout=2.0)

    assert texts(diagnosis, "app_slow") == ["svc:app did not load within 2 s"]
    assert diagnosis.exit_code == 3


def test_service_threads_do_not_block_doctor_and_its_output_is_hidden(doctor, service, capfd):
    service(
        f"""
        import threading, time
        print("{CANARY}")
        threading.Thread(target=time.sleep, args=(600,)).start()
        from somatrace import init_tracing
        init_tracing("svc")
        """
    )

    assert texts(doctor({}, app="svc"), "app") == ["svc is loaded and traced as svc"]
    assert capfd.readouterr().out == ""


def test_setting_problems_are_reported_once_and_the_services_own_separately(doctor, service):
    service(
        """
        from somatrace import Config, init_tracing
        init_tracing("svc", config=Config(flush_interval=-1))
        """
    )

    diagnosis = doctor({"SOMATRACE_SAMPLE_RATE": "7"}, app="svc")

    assert len([text for text in texts(diagnosis, "problem", "app_problem") if "SAMPLE_RATE" in text]) == 1
    [line] = texts(diagnosis, "app_problem")
    assert line.startswith("in svc: Config.flush_interval: ")


def test_libraries_are_not_reported_wrong_when_tracing_is_disabled(doctor, service):
    service("import httpx; from somatrace import init_tracing; init_tracing('svc')")

    diagnosis = doctor({"SOMATRACE_ENABLED": "false"}, app="svc")

    assert texts(diagnosis, "off")
    assert diagnosis.exit_code == 0
