"""The names that instrumentors give to `get_tracer`, which are the scopes of their spans.

As a script it records those of instrumentors that are not installed here, into `instrumentor_scopes.json`:

    pip download --no-deps -d wheels openinference-instrumentation-crewai …
    python -I tests/support/instrumentor_scopes.py wheels
"""

from __future__ import annotations

import ast
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

RECORDED = Path(__file__).with_suffix(".json")


def scopes_of(package: Path, module: str) -> set[str]:
    """The scopes that the sources of a package name, read without running them."""
    found: set[str] = set()
    for path in package.rglob("*.py") if package.is_dir() else (package,):
        parts = path.relative_to(package).with_suffix("").parts if package.is_dir() else ()
        name = ".".join((module, *(part for part in parts if part != "__init__")))
        above = name if path.name == "__init__.py" else name.rpartition(".")[0]
        names = {"__name__": name, "__package__": above}
        found |= set(_given(ast.parse(path.read_text()), names))
    return found


def _given(tree: ast.Module, names: dict[str, str]) -> Iterator[str]:
    """The first arguments of calls of `get_tracer` and what names a handler of `opentelemetry.util.genai`."""
    constants = names | {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        if called == "get_tracer":
            given = node.args[0] if node.args else keywords.get("instrumenting_module_name")
        elif called == "TelemetryHandler":
            given = keywords.get(
                "instrumentation_scope_name", ast.Constant("opentelemetry.util.genai.handler")
            )
        else:
            continue
        if isinstance(given, ast.Constant):
            yield str(given.value)
        elif isinstance(given, ast.Name) and given.id in constants:
            yield str(constants[given.id])


def main(wheels: Path) -> None:
    recorded = {}
    for wheel in sorted(wheels.glob("*.whl")):
        distribution, version = wheel.name.split("-")[:2]
        with tempfile.TemporaryDirectory() as unpacked, zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
            tops = [path for path in Path(unpacked).iterdir() if not path.name.endswith(".dist-info")]
            scopes = set[str]().union(*(scopes_of(top, top.stem) for top in tops))
        recorded[distribution.replace("_", "-")] = {"version": version, "scopes": sorted(scopes)}
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
