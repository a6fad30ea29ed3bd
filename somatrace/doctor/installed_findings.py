"""What is installed: its versions against the supported ranges, and who instruments which library."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from somatrace import semconv
from somatrace.doctor.findings import DoctorFinding, finding
from somatrace.instrumentation.llm.openllmetry import ROWS, LibraryRow

_PACKAGE: Final = "somatrace"
_GOOD_PIP: Final = 24


def installed_findings() -> Iterator[DoctorFinding]:
    """Versions, pip, the OpenTelemetry agent, and each library that is or could be instrumented."""
    yield from _versions()
    yield from pip_findings(version_of("pip"), version_of("traceloop-sdk"))
    distro = version_of("opentelemetry-distro")
    if any(
        path.rstrip("/").endswith("opentelemetry/instrumentation/auto_instrumentation") for path in sys.path
    ):
        yield finding("agent")
    elif distro:
        yield finding("distro", version=distro)
    for row in ROWS:
        yield from library_findings(row)


def pip_findings(pip: str, traceloop: str) -> Iterator[DoctorFinding]:
    """Whether this pip could install the extra `traceloop`; of no interest where that is installed."""
    major = pip.partition(".")[0]
    if major.isdigit() and int(major) < _GOOD_PIP and not traceloop:
        yield finding("old_pip", version=pip)


def version_of(distribution: str) -> str:
    """The installed version, "" when it is not."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def distribution_of(module: str) -> str:
    """The distribution that a module came with; its own name when nobody knows.

    Several share a namespace such as `google`: then it is the one called like the module.
    """
    found = _distributions().get(module.partition(".")[0], ())
    alike = [name for name in found if _canonical(name) == _canonical(module)]
    return (alike or [*found, module])[0]


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _versions() -> Iterator[DoctorFinding]:
    required = _required(_PACKAGE, extra="")
    if required is None:
        yield finding("no_metadata")
        return
    faults = 0
    for requirement in required:
        version = version_of(requirement.name)
        fields = {"package": requirement.name, "range": requirement.specifier, "version": version}
        if not version:
            faults += 1
            yield finding("missing", **fields)
        elif not requirement.specifier.contains(version, prereleases=True):
            faults += 1
            yield finding("outside", **fields)
    if not faults:
        yield finding(
            "python", version=platform.python_version(), somatrace=semconv.VERSION, count=len(required)
        )


def _required(distribution: str, extra: str) -> list[Requirement] | None:
    """What a distribution requires, for an extra only that extra's; None when it is not installed."""
    try:
        lines = metadata.requires(distribution)
    except metadata.PackageNotFoundError:
        return None
    found = []
    for line in lines or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if not extra else (not always and marker is not None and marker.evaluate({"extra": extra})):
            found.append(requirement)
    return found


def library_findings(row: LibraryRow) -> Iterator[DoctorFinding]:
    """A library of the table that is installed. Nothing of it is imported."""
    library = distribution_of(row.module)
    version = version_of(library)
    if not version or not _is_there(row.module):
        return
    instrumentor = f"opentelemetry-instrumentation-{row.package.replace('_', '-')}"
    theirs = version_of(instrumentor)
    fields = {"library": library, "version": version, "instrumentor": instrumentor, "its_version": theirs}
    if not theirs:
        yield finding("library_without", **fields)
        return
    for requirement in _required(instrumentor, extra="instruments") or ():
        same = _canonical(requirement.name) == _canonical(library)
        if same and not requirement.specifier.contains(version, prereleases=True):
            yield finding("library_outside", **fields, range=requirement.specifier)
            return
    yield finding("library", **fields)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _is_there(module: str) -> bool:
    """Whether a module could be imported, without importing the packages it lies in."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return False
    for part in rest:
        places = (spec.submodule_search_locations if spec is not None else None) or ()
        found = [path for place in places for path in (Path(place) / part, Path(place) / f"{part}.py")]
        if not any(path.exists() for path in found):
            return False
        spec = importlib.machinery.ModuleSpec(part, None)
        spec.submodule_search_locations = [str(path) for path in found]
    return spec is not None
