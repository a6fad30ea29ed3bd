"""Recorded spans and requests of libraries that do not fit the common environment, replayed through the guard
and the propagation."""

from __future__ import annotations

from pathlib import Path

import pytest

from somatrace.libraries import LIBRARIES
from tests.leak_matrix import recordings
from tests.leak_matrix.rows import RECORDED
from tests.leak_matrix.support import run
from tests.leak_matrix.useful import compared

#: Instrumentors of servers, which the registry of LLM libraries leaves to the program.
SERVERS = {f"opentelemetry.instrumentation.{name}" for name in ("django", "flask", "wsgi")}


class Replayed:
    """A replay of one library's recording, and what was found in its outputs."""

    def __init__(self, library: str, directory: Path, order: str, **env: str) -> None:
        self.run = run(f"recording:{library}", directory, order, **env)
        self.scopes = scopes(library)
        self.leaks = [str(leak) for leak in self.run.leaks(closed=bool(env))]


@pytest.fixture(scope="module", params=RECORDED)
def replayed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """With processors of the program that are added after `init_tracing`."""
    return Replayed(request.param, tmp_path_factory.mktemp("after"), "after")


@pytest.fixture(scope="module", params=RECORDED)
def replayed_closed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """With content off for the whole process, and processors that are added before `init_tracing`."""
    return Replayed(request.param, tmp_path_factory.mktemp("never"), "before", SOMATRACE_CONTENT="never")


@pytest.mark.slow
def test_only_content_allowed_by_the_tenants_policy_leaves(replayed: Replayed) -> None:
    assert replayed.run.report["faults"] == 0
    assert replayed.leaks == []


@pytest.mark.slow
def test_opted_in_tenants_see_their_content(replayed: Replayed) -> None:
    assert replayed.run.missing("redacted") == []
    assert replayed.run.missing("full") == []


@pytest.mark.slow
def test_operators_keep_models_usage_and_failures(replayed: Replayed) -> None:
    needed, changed = compared(span for span in replayed.run.recorded if span["scope"] in replayed.scopes)

    assert needed > 0
    assert changed == []


@pytest.mark.slow
def test_never_blocks_every_tenants_content(replayed_closed: Replayed) -> None:
    assert replayed_closed.leaks == []


@pytest.mark.slow
def test_model_providers_get_no_headers_of_tracing(replayed: Replayed) -> None:
    assert replayed.run.told() == []


def test_every_recorded_library_has_cases_with_spans() -> None:
    assert recordings.names() == sorted(RECORDED)
    for library in RECORDED:
        assert any(case["spans"] for case in recordings.read(library)["cases"]), library


def test_recordings_hold_placeholders_instead_of_canaries_and_directories(root: Path) -> None:
    for library in RECORDED:
        text = (recordings.FOLDER / f"{library}.json").read_text()
        assert "zqx" not in text, library
        assert str(root) not in text, library
        assert "⟦word of " in text, library


def test_the_table_of_scopes_lists_what_was_recorded() -> None:
    assert recordings.SCOPES.read_text().splitlines() == recordings.scope_table(RECORDED)


def scopes(library: str) -> set[str]:
    return recordings.scopes(recordings.read(library))


def test_the_registry_knows_every_recorded_scope() -> None:
    known: tuple[str, ...] = tuple(scope for row in LIBRARIES for scope in row.scopes)
    recorded = {scope for library in RECORDED for scope in scopes(library)}

    assert {scope for scope in recorded if not scope.startswith(known)} <= SERVERS
