"""The registry of libraries: complete, consistent, and light to import."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from somatrace.guard import name_forms
from somatrace.instrumentation import call_context
from somatrace.libraries import INSTRUMENTED, LIBRARIES, Library
from tests.leak_matrix.recordings import SCOPES
from tests.support.instrumentor_scopes import RECORDED, scopes_of
from tests.support.programs import run_program

#: OpenTelemetry's own instrumentors, for HTTP, RPC, threads, queues, logs and caches. somatrace has its own
#: for HTTP, threads and Celery, and leaves the others to the program.
NOT_IN_THE_REGISTRY = {
    "aiohttp_client", "asgi", "botocore", "celery", "fastapi", "flask", "grpc", "httpx", "logging", "redis",
    "requests", "threading", "tornado", "urllib", "urllib3", "wsgi",
}  # fmt: skip
INSTALLED = {
    entry.value.partition(":")[0] for entry in metadata.entry_points(group="opentelemetry_instrumentor")
}


def _declared(root: Path) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=!~ \[]", line)[0] for line in project["dependencies"]}
    return {name for name in names if name.startswith("opentelemetry-instrumentation-")}


def test_every_declared_instrumentor_is_in_the_registry(root: Path) -> None:
    assert _declared(root)
    assert _declared(root) <= {row.instrumentor_distribution for row in INSTRUMENTED}


def test_every_installed_instrumentor_is_in_the_registry() -> None:
    modules = {row.instrumentor_module for row in INSTRUMENTED}
    ignored = {f"opentelemetry.instrumentation.{name}" for name in NOT_IN_THE_REGISTRY}

    assert INSTALLED - ignored <= modules


def test_every_instrumentor_of_traceloop_is_in_the_registry() -> None:
    """traceloop-sdk depends on all of OpenLLMetry's instrumentors."""
    try:
        lines = metadata.requires("traceloop-sdk") or ()
    except metadata.PackageNotFoundError:
        pytest.skip("traceloop-sdk is not installed in this environment")
    names = {re.split(r"[<>=!~ \[;(]", line)[0] for line in lines}
    theirs = {name for name in names if name.startswith("opentelemetry-instrumentation-")}
    ours = {row.instrumentor_distribution for row in INSTRUMENTED}

    assert theirs
    assert {name.rpartition("-")[2] for name in theirs - ours} <= NOT_IN_THE_REGISTRY


def test_names_and_instrumentors_are_unique() -> None:
    assert len({row.name for row in LIBRARIES}) == len(LIBRARIES)
    assert len({row.package for row in INSTRUMENTED}) == len(INSTRUMENTED)
    assert all(bool(row.package) == bool(row.instrumentor) for row in LIBRARIES)


@pytest.mark.parametrize("row", [row for row in LIBRARIES if row.scopes], ids=lambda row: row.name)
def test_only_the_spans_of_model_clients_count_as_model_calls_by_their_scope(row) -> None:
    for scope in row.scopes:
        counts = scope.startswith(call_context._MODEL_SCOPES) and not scope.startswith(
            call_context._OTHER_SCOPES
        )

        assert counts == (row.role == "model")


# -- scopes: those that the instrumentors really use --------------------------------------------------------

#: Recorded from packages that are not installed here.
ELSEWHERE = {name: set(found["scopes"]) for name, found in json.loads(RECORDED.read_text()).items()}
#: Libraries that are not in the registry, and the helper that all of OpenTelemetry's GenAI packages share.
WITHOUT_A_ROW = {
    "openinference.instrumentation.autogen_agentchat", "openinference.instrumentation.beeai",
    "openinference.instrumentation.google_adk", "openinference.instrumentation.guardrails",
    "openinference.instrumentation.instructor", "openinference.instrumentation.pipecat",
    "openinference.instrumentation.portkey", "openinference.instrumentation.smolagents",
    "opentelemetry.util.genai.handler",
}  # fmt: skip


def installed_scopes(module: str) -> set[str]:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return scopes_of(Path(spec.origin).parent, module)


def covers(row: Library, scope: str) -> bool:
    return any(name_forms.is_scope_of(prefix, scope) for prefix in row.scopes)


@pytest.mark.parametrize("module", sorted(INSTALLED & {row.instrumentor_module for row in INSTRUMENTED}))
def test_scopes_of_installed_instrumentors_are_those_of_their_row(module: str) -> None:
    (row,) = (row for row in INSTRUMENTED if row.instrumentor_module == module)
    scopes = installed_scopes(module)

    assert scopes
    assert {scope for scope in scopes if not covers(row, scope)} == set()


@pytest.mark.slow
def test_scopes_read_from_the_sources_are_those_of_the_tracers() -> None:
    """Instrumentors run for real, as far as they get without their libraries."""
    rows = [
        row
        for row in INSTRUMENTED
        if row.name in ("agno", "crewai", "openai_agents", "sqlalchemy", "watsonx")
    ]
    done = run_program(
        """
        import contextlib, importlib, json
        from opentelemetry import trace

        class Recorder(trace.NoOpTracerProvider):
            def get_tracer(self, name, *args, **kwargs):
                scopes.append(name)
                return super().get_tracer(name, *args, **kwargs)

        recorded = {}
        for module, name in ROWS:
            scopes = recorded[module] = []
            with contextlib.suppress(ImportError):
                instrumentor = getattr(importlib.import_module(module), name)()
                instrumentor.instrument(tracer_provider=Recorder(), skip_dep_check=True)
        print(json.dumps(recorded))
        """.replace("ROWS", repr([(row.instrumentor_module, row.instrumentor) for row in rows])),
        {},
        timeout=300,
    )

    ran = json.loads(done.stdout)
    assert len(ran) == 5
    for module, scopes in ran.items():
        assert set(scopes) == installed_scopes(module)


def test_scopes_recorded_elsewhere_belong_to_one_row() -> None:
    for scope in set().union(*ELSEWHERE.values()) - WITHOUT_A_ROW:
        assert sum(covers(row, scope) for row in LIBRARIES) == 1, scope


def test_every_scope_of_openinference_in_the_registry_was_recorded() -> None:
    recorded = set().union(*ELSEWHERE.values())

    registered = {scope for row in LIBRARIES for scope in row.scopes if scope.startswith("openinference.")}
    assert registered <= recorded


def test_the_scopes_that_have_rules_for_names_are_real() -> None:
    recorded = {line.split()[1] for line in SCOPES.read_text().splitlines()}
    real = recorded.union(*ELSEWHERE.values(), *map(installed_scopes, INSTALLED))

    tables = (name_forms._NAMED_BY_CONTENT, name_forms._NAMED_BY_DATABASE, name_forms._LIBRARY_OPERATIONS)
    for prefix in (prefix for table in tables for prefix in table):
        assert any(name_forms.is_scope_of(prefix, scope) for scope in real), prefix


def test_the_page_lists_every_instrumented_library(root: Path) -> None:
    page = (root / "docs" / "instrumentation.md").read_text()
    rows = "".join(re.findall(r"^\| (?:included|on when installed) \|.*$", page, re.MULTILINE))
    listed = set(re.findall(r"[a-z0-9][a-z0-9-]+", rows))
    missing = {
        row.name
        for row in INSTRUMENTED
        if row.instrumentor_distribution.removeprefix("opentelemetry-instrumentation-") not in listed
    }

    assert missing == set()


def test_the_page_lists_the_declared_instrumentors_as_included(root: Path) -> None:
    page = (root / "docs" / "instrumentation.md").read_text()
    (row,) = re.findall(r"^\| included \|(.*)\|$", page, re.MULTILINE)

    assert set(re.findall(r"[a-z0-9-]+", row)) - {"and", "langgraph"} == {
        name.removeprefix("opentelemetry-instrumentation-") for name in _declared(root)
    }


def test_the_registry_imports_nothing_but_the_standard_library() -> None:
    done = run_program(
        """
        import sys
        import somatrace.libraries
        print([name for name in ("opentelemetry", "pydantic", "openai", "wrapt") if name in sys.modules])
        """,
        {},
    )

    assert done.stdout == "[]\n"


def test_the_requests_of_every_model_client_are_recognized_by_its_packages() -> None:
    for library in LIBRARIES:
        assert library.model_packages or library.role != "model", library.name
        assert "*" not in "".join(library.model_packages)


def test_the_tools_of_frameworks_are_not_taken_for_model_clients() -> None:
    frameworks = {name for row in LIBRARIES if row.role == "framework" for name in row.import_names}

    assert not frameworks & {name for row in LIBRARIES for name in row.model_packages}
