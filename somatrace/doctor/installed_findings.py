"""Installed versions, compared with the supported ranges, and the instrumentor of each library."""

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
from somatrace.libraries import INSTRUMENTED, Library
from somatrace.pipeline.sdk_form import is_known

_PACKAGE: Final = "somatrace"


def installed_findings() -> Iterator[DoctorFinding]:
    """Findings on versions, the OpenTelemetry agent, and libraries that are or could be instrumented."""
    yield from _versions()
    if not is_known():
        yield finding("sdk_unknown", version=version_of("opentelemetry-sdk"))
    if any(
        path.rstrip("/").endswith("opentelemetry/instrumentation/auto_instrumentation") for path in sys.path
    ):
        yield finding("agent")
    for library in INSTRUMENTED:
        for module in library.modules:
            yield from library_findings(library, module)


def version_of(distribution: str) -> str:
    """The installed version, "" if the distribution is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def distribution_of(module: str) -> str:
    """The distribution that provides a module, or the module's own name if none is known.

    If several share a namespace such as `google`, it is the one with the module's name.
    """
    providers = _distributions().get(module.partition(".")[0], ())
    namesakes = [name for name in providers if _canonical(name) == _canonical(module)]
    return (namesakes or [*providers, module])[0]


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _versions() -> Iterator[DoctorFinding]:
    required = _required(_PACKAGE, extra="")
    if required is None:
        yield finding("no_metadata")
        return
    wrong = 0
    for requirement in required:
        version = version_of(requirement.name)
        fields = {"package": requirement.name, "range": requirement.specifier, "version": version}
        if not version:
            wrong += 1
            yield finding("missing", **fields)
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong += 1
            yield finding("outside", **fields)
    if not wrong:
        yield finding(
            "python", version=platform.python_version(), somatrace=semconv.VERSION, count=len(required)
        )


def _required(distribution: str, extra: str) -> list[Requirement] | None:
    """A distribution's requirements, or with `extra` only that extra's; None if it is not installed."""
    try:
        lines = metadata.requires(distribution)
    except metadata.PackageNotFoundError:
        return None
    requirements = []
    for line in lines or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always if not extra else (not always and marker is not None and marker.evaluate({"extra": extra})):
            requirements.append(requirement)
    return requirements


def library_findings(library: Library, module: str) -> Iterator[DoctorFinding]:
    """The finding on a library of the registry, if it is installed. It is not imported."""
    distribution = distribution_of(module)
    version = version_of(distribution)
    if not version or not _is_importable(module):
        return
    instrumentor = library.instrumentor_distribution
    instrumentor_version = version_of(instrumentor)
    fields = {
        "library": distribution,
        "version": version,
        "instrumentor": instrumentor,
        "its_version": instrumentor_version,
    }
    first = library.unsupported[1] if library.unsupported else None
    unsupported = first is not None and _major(version) >= first
    if unsupported and library.traces_itself:
        yield finding("library_own", **fields)
        return
    if not instrumentor_version:
        if not _belongs_to_others(distribution):
            yield finding("library_without", **fields)
        return
    if unsupported:
        yield finding("library_outside", **fields, range=f"<{first}")
        return
    for requirement in _required(instrumentor, extra="instruments") or ():
        same = _canonical(requirement.name) == _canonical(distribution)
        if same and not requirement.specifier.contains(version, prereleases=True):
            yield finding("library_outside", **fields, range=requirement.specifier)
            return
    if _is_namespace(module):
        yield finding("library_namespace", **fields, module=module)
        return
    yield finding("library", **fields)


def _belongs_to_others(distribution: str) -> bool:
    """Whether it is installed for other libraries of the registry alone, as botocore is for litellm."""
    others = {_canonical(distribution_of(module)) for library in INSTRUMENTED for module in library.modules}
    waiting, seen = [_canonical(distribution)], {_canonical(distribution)}
    while waiting:
        dependents = _dependents().get(waiting.pop(), set())
        if not dependents:
            return False
        new = dependents - seen - others
        seen |= new
        waiting += new
    return True


@cache
def _dependents() -> Mapping[str, set[str]]:
    """By installed distribution, those that require it."""
    found: dict[str, set[str]] = {}
    for name in {name for names in _distributions().values() for name in names}:
        for requirement in _required(name, extra="") or ():
            found.setdefault(_canonical(requirement.name), set()).add(_canonical(name))
    return found


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else 0


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _is_importable(module: str) -> bool:
    """Whether a module can be imported, found without importing its parent packages."""
    return _places(module) is not None


def _is_namespace(module: str) -> bool:
    """Whether a module is only folders, without an `__init__`. Nothing is notified of its import."""
    places = _places(module)
    return bool(places) and all(
        path.is_dir() and not (path / "__init__.py").exists() for path in places or ()
    )


def _places(module: str) -> list[Path] | None:
    """The files or folders of a module, none for a built-in one; None if it does not exist."""
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    for part in rest:
        places = [path for place in places for path in (place / part, place / f"{part}.py") if path.exists()]
        if not places:
            return None
    return places
