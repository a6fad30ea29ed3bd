"""Doctor's findings on versions and libraries, with made-up distributions."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from somatrace.doctor.installed_findings import (
    _dependents,
    _distributions,
    distribution_of,
    installed_findings,
    library_findings,
)
from somatrace.libraries import Library


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Create a distribution, with a module if named, and put it first on the path."""
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
        forget()

    def forget() -> None:
        _distributions.cache_clear()
        _dependents.cache_clear()

    yield make
    monkeypatch.undo()
    forget()


def found(kind: str) -> list[str]:
    return [finding.text for finding in installed_findings() if finding.kind == kind]


def test_versions_within_their_ranges_take_one_line():
    [line] = found("python")

    assert line.startswith(f"Python {sys.version.split()[0]}, somatrace ")
    assert found("outside") == found("missing") == []


def test_a_dependency_outside_its_range_is_reported(install):
    install("opentelemetry-sdk", "1.39.0")

    [line] = found("outside")

    assert line.startswith("opentelemetry-sdk 1.39.0 is outside the supported range ")
    assert found("python") == []


def test_an_sdk_of_unknown_form_is_noted(monkeypatch):
    monkeypatch.setattr("somatrace.doctor.installed_findings.is_known", lambda: False)

    [line] = found("sdk_unknown")

    assert line.startswith(
        f"somatrace does not know opentelemetry-sdk {metadata.version('opentelemetry-sdk')}: "
    )


def test_a_missing_dependency_is_reported(install):
    install("somatrace", "0.1.0", "nobody-has-this>=2")

    assert found("missing") == ["nobody-has-this is not installed"]


def test_a_library_is_listed_with_its_instrumentor():
    for library in ("openai", "anthropic", "mcp"):
        version = metadata.version(library)
        assert any(line.startswith(f"{library} {version}: instrumented by ") for line in found("library"))


def test_a_library_without_its_instrumentor_is_a_note_and_is_not_imported(install):
    install("smallmodel", "1.2.3", module="smallmodel")

    library = Library("smallmodel", "model", ("smallmodel",), "smallmodel", "SmallModelInstrumentor")
    [noted] = library_findings(library, "smallmodel")

    assert (noted.kind, noted.level) == ("library_without", "note")
    assert noted.text.endswith("needs `pip install opentelemetry-instrumentation-smallmodel`")


@pytest.mark.parametrize(("dependent", "noted"), [("litellm", False), ("a-service", True)])
def test_a_library_that_others_of_the_registry_bring_along_is_not_noted(install, dependent, noted):
    install("smallmodel", "1.2.3", module="smallmodel")
    install("smallclient", "1.0", "smallmodel>=1", module="smallclient")
    install(dependent, "99.0", "smallclient", module=dependent.replace("-", "_"))

    library = Library("smallmodel", "model", ("smallmodel",), "smallmodel", "SmallModelInstrumentor")
    findings = list(library_findings(library, "smallmodel"))

    assert bool(findings) is noted


def test_a_package_without_the_module_that_is_instrumented_does_not_matter(install):
    install("smallmodel", "1.2.3")

    library = Library("smallmodel", "model", ("smallmodel",), "smallmodel", "SmallModelInstrumentor")

    assert list(library_findings(library, "smallmodel")) == []


def test_a_library_too_new_for_its_instrumentor_is_reported(install):
    install("SQLAlchemy", "2.1.9", module="sqlalchemy")

    [line] = found("library_outside")

    assert line.startswith("SQLAlchemy 2.1.9 is outside the range ")


def test_a_library_whose_major_version_its_instrumentor_cannot_wrap_is_reported(install):
    install("smallmodel", "3.1", module="smallmodel")
    install("opentelemetry-instrumentation-smallmodel", "1.0")

    library = Library(
        "smallmodel", "model", ("smallmodel",), "smallmodel", "SmallModelInstrumentor",
        unsupported=("smallmodel", 3),
    )  # fmt: skip
    [reported] = library_findings(library, "smallmodel")

    assert (reported.kind, reported.level) == ("library_outside", "wrong")
    assert reported.text.startswith("smallmodel 3.1 is outside the range <3 ")


@pytest.mark.parametrize(("version", "kind"), [("2.3.0", "library_own"), ("1.30.0", "library")])
def test_a_library_that_makes_its_own_spans_needs_no_instrumentor(install, version, kind):
    install("smallmodel", version, module="smallmodel")
    install("opentelemetry-instrumentation-smallmodel", "1.0")

    library = Library(
        "smallmodel", "other", ("smallmodel",), "smallmodel", "SmallModelInstrumentor",
        unsupported=("smallmodel", 2), traces_itself=True,
    )  # fmt: skip
    [reported] = library_findings(library, "smallmodel")

    assert (reported.kind, reported.level) == (kind, "ok")


def test_a_library_that_has_become_a_namespace_package_is_reported(install, tmp_path):
    install("smallmodel", "3.0", module="smallmodel")
    (tmp_path / "smallmodel" / "__init__.py").rename(tmp_path / "smallmodel" / "client.py")
    install("opentelemetry-instrumentation-smallmodel", "1.0")

    library = Library("smallmodel", "model", ("smallmodel",), "smallmodel", "SmallModelInstrumentor")
    [reported] = library_findings(library, "smallmodel")

    assert (reported.kind, reported.level) == ("library_namespace", "wrong")
    assert reported.text.startswith("smallmodel 3.0 is not instrumented: its module smallmodel has become ")


def test_a_module_maps_to_its_distribution_or_to_its_own_name():
    assert distribution_of("langchain_core") == "langchain-core"
    assert distribution_of("nobody.has.this") == "nobody.has.this"


@pytest.mark.slow
def test_running_under_opentelemetry_instrument_is_noted(tmp_path):
    agent = Path(sys.executable).with_name("opentelemetry-instrument")
    if not agent.exists():
        pytest.skip("opentelemetry-distro is not installed")
    instrumentors = {point.name for point in entry_points(group="opentelemetry_instrumentor")}
    done = subprocess.run(
        [agent, "--traces_exporter", "none", "--metrics_exporter", "none", "--logs_exporter", "none",
         sys.executable, "-m", "somatrace", "doctor"],
        env={**os.environ, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(instrumentors)},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip

    assert "runs under opentelemetry-instrument" in done.stdout
