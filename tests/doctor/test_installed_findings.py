"""What doctor says of versions and libraries, with distributions made for the purpose."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from somatrace.doctor.installed_findings import (
    distribution_of,
    installed_findings,
    library_findings,
    pip_findings,
)
from somatrace.instrumentation.llm.openllmetry import LibraryRow


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution (with an empty module) first on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, version: str, *requires: str, module: str = "") -> None:
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
        if module:
            (info / "top_level.txt").write_text(module + "\n")
            (tmp_path / module).mkdir()
            (tmp_path / module / "__init__.py").write_text("raise AssertionError('imported')")

    return make


def found(kind: str) -> list[str]:
    return [finding.text for finding in installed_findings() if finding.kind == kind]


def test_versions_in_their_ranges_are_one_line():
    [line] = found("python")

    assert line.startswith(f"Python {sys.version.split()[0]}, somatrace ")
    assert found("outside") == found("missing") == []


def test_a_dependency_outside_its_range_is_wrong(install):
    install("opentelemetry-sdk", "1.39.0")

    [line] = found("outside")

    assert line.startswith("opentelemetry-sdk 1.39.0 is outside the supported range ")
    assert found("python") == []


def test_a_dependency_that_is_not_installed_is_wrong(install):
    install("somatrace", "0.1.0", "nobody-has-this>=2")

    assert found("missing") == ["nobody-has-this is not installed"]


def test_a_library_is_told_with_who_would_instrument_it_and_is_not_imported():
    for library in ("openai", "anthropic", "mcp"):
        version = metadata.version(library)
        assert any(line.startswith(f"{library} {version}: instrumented by ") for line in found("library"))


def test_a_library_without_its_instrumentor_is_noted(install):
    install("smallmodel", "1.2.3", module="smallmodel")

    [noted] = library_findings(LibraryRow("smallmodel", "smallmodel", "smallmodel", "SmallModelInstrumentor"))

    assert (noted.kind, noted.level) == ("library_without", "note")
    assert noted.text.endswith("needs `pip install opentelemetry-instrumentation-smallmodel`")


def test_a_library_that_is_too_new_for_its_instrumentor_is_wrong(install):
    install("SQLAlchemy", "2.1.9", module="sqlalchemy")

    [line] = found("library_outside")

    assert line.startswith("SQLAlchemy 2.1.9 is outside the range ")


def test_an_old_pip_is_noted_where_the_traceloop_extra_is_not_there():
    [noted] = pip_findings("23.2.1", "")

    assert noted.text.startswith("pip 23.2.1 needs many minutes")
    assert not [*pip_findings("23.2.1", "0.62.4"), *pip_findings("24.0", ""), *pip_findings("", "")]


def test_a_module_belongs_to_the_distribution_it_came_with_or_is_called_like():
    assert distribution_of("langchain_core") == "langchain-core"
    assert distribution_of("nobody.has.this") == "nobody.has.this"


@pytest.mark.slow
def test_under_opentelemetry_instrument_that_is_noted(tmp_path):
    agent = Path(sys.executable).with_name("opentelemetry-instrument")
    if not agent.exists():
        pytest.skip("opentelemetry-distro is not installed")
    done = subprocess.run(
        [agent, "--traces_exporter", "none", "--metrics_exporter", "none", "--logs_exporter", "none",
         sys.executable, "-m", "somatrace", "doctor"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert "runs under opentelemetry-instrument" in done.stdout
