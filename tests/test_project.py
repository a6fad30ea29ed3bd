"""Rules for the whole project: its layers, public API, lock files and licenses."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from somatrace import semconv

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "somatrace"
LOCKS = (
    "ci/locks/requirements.lock",
    "ci/locks/requirements-dev.lock",
    "ci/locks/requirements-lowest.lock",
    "ci/locks/requirements-openai3.lock",
    "ci/locks/requirements-interop.lock",
    "ci/locks/requirements-peers.lock",
    "ci/locks/requirements-sdk-tests.lock",
    "ci/locks/requirements-sdk-tests-lowest.lock",
)
PLAIN = (
    "check",
    "config",
    "context.context_decorator",
    "context.span_state",
    "context.tags",
    "guard",
    "listeners.record",
    "runtime",
    "semconv",
)
MODULES = sorted(SOURCE.rglob("*.py"))
LOCKED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, with the imported names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: no list of tracked files")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# -- the public API -------------------------------------------------------------------------------


def test_the_public_api_has_at_most_25_names_and_each_exists():
    import somatrace

    assert len(somatrace.__all__) <= 25
    assert len(set(somatrace.__all__)) == len(somatrace.__all__)
    for name in somatrace.__all__:
        assert getattr(somatrace, name) is not None
    assert set(somatrace.__all__) <= set(dir(somatrace))


def test_the_documentation_and_the_typed_example_cover_exactly_the_public_names():
    import somatrace

    index = (ROOT / "docs" / "index.md").read_text()
    table = index[index.index("`somatrace.__all__`") :].partition("|---|---|")[2].partition("\n\n")[0]
    example = ast.parse((ROOT / "tests" / "typing" / "api.py").read_text())
    used = {node.id for node in ast.walk(example) if isinstance(node, ast.Name)}
    assert set(re.findall(r"`(\w+)`", table)) == set(somatrace.__all__)
    assert set(somatrace.__all__) <= used


def test_every_public_name_has_a_docstring():
    import inspect

    import somatrace

    silent = [name for name in somatrace.__all__ if not inspect.getdoc(getattr(somatrace, name))]
    assert silent == ["Kind"]  # a Literal: its values are in the docstring of `span`


def test_importing_somatrace_imports_neither_opentelemetry_nor_an_llm_library():
    loaded = run_python("import sys, somatrace; print(*sys.modules)").split()

    assert not {"opentelemetry", "openai", "litellm", "anthropic", "langchain", "pydantic"} & set(loaded)


def test_the_plain_half_imports_without_opentelemetry():
    imports = "; ".join(f"import somatrace.{name}" for name in PLAIN)

    loaded = run_python(f"import sys; {imports}; print(*sys.modules)").split()

    assert not {"opentelemetry", "traceloop", "pydantic", "httpx", "requests"} & set(loaded)


# -- the layers -----------------------------------------------------------------------------------


def test_the_layers_contract_holds():
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert lint.returncode == 0, lint.stdout


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_sdk_is_imported_only_by_the_pipeline_and_delivery(path):
    if layer_of(path) not in {"pipeline", "tracing", "delivery", "testing"}:
        assert not [name for name in imported(path) if name.startswith("opentelemetry.sdk")]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_config_reads_the_environment(path):
    if layer_of(path) == "config":
        return
    readers = {"os.environ", "os.getenv", "os.environb"}
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not readers & (attributes | set(imported(path)))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_a_specific_name_and_fewer_than_400_lines(path):
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}
    assert len(path.read_text().splitlines()) < 400


@pytest.mark.parametrize(
    "service", sorted((ROOT / "services").glob("*/app")), ids=lambda path: path.parent.name
)
def test_a_service_uses_only_public_names_of_somatrace(service):
    import somatrace

    everything = [name for path in service.rglob("*.py") for name in imported(path)]
    used = [name for name in everything if name.startswith("somatrace")]

    assert used
    assert not [name for name in everything if name.startswith(("opentelemetry", "traceloop", "langfuse"))]
    assert all(name == "somatrace" or name.removeprefix("somatrace.") in somatrace.__all__ for name in used)


@pytest.mark.parametrize(
    "service", sorted((ROOT / "services").glob("*/app")), ids=lambda path: path.parent.name
)
def test_a_service_sets_up_tracing_in_one_line(service):
    lines = [line for path in service.rglob("*.py") for line in path.read_text().splitlines()]

    assert [line for line in lines if "init_tracing(" in line] == [f'init_tracing("{service.parent.name}")']


def test_the_check_lists_the_four_services_and_not_the_demo():
    done = subprocess.run(
        [sys.executable, "-I", "-m", "somatrace.check", "--list", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    services = {f"services/{path.parent.name}" for path in (ROOT / "services").glob("*/app")}
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("services/")}
    assert listed == services
    assert len(services) == 4


# -- tracked files --------------------------------------------------------------------------------


def test_no_tracked_file_contains_a_machine_path_or_a_package_index():
    # Concatenated, so that this file does not match itself.
    forbidden = re.compile(
        "|".join(
            [
                r"(?<![\w./-])/(?:work|root|Users|opt/pypi)" + r"/[\w.]",
                r"(?<![\w./-])/home" + r"/(?!user\b|u\b|app\b|you\b)\w",
                r"files\.python" + r"hosted\.org",
                r"(?:test\.)?pypi" + r"\.org/simple",
                r"^--(?:extra-)?index" + r"-url|^--find" + r"-links",
            ]
        ),
        re.MULTILINE,
    )
    found = {}
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if match := forbidden.search(text):
            found[str(path.relative_to(ROOT))] = match.group()
    assert found == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(lock):
    text = (ROOT / lock).read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

    assert entries
    for entry in entries:
        assert LOCKED.match(entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_development_uses_the_runtime_versions():
    # a package may be locked at several versions, for different interpreters
    runtime = set(LOCKED.findall((ROOT / "ci/locks/requirements.lock").read_text()))
    development = set(LOCKED.findall((ROOT / "ci/locks/requirements-dev.lock").read_text()))

    assert runtime <= development


def test_the_lowest_lock_uses_the_oldest_sdk_that_the_metadata_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = dict(LOCKED.findall((ROOT / "ci/locks/requirements-lowest.lock").read_text()))

    [sdk] = [line for line in project["dependencies"] if line.startswith("opentelemetry-sdk")]

    assert f">={lowest['opentelemetry-sdk']}," in sdk


@pytest.mark.parametrize("suffix", ["-lowest", ""])
def test_the_sdks_own_tests_are_those_of_the_supported_versions(suffix):
    environment = dict(LOCKED.findall((ROOT / f"ci/locks/requirements{suffix or '-dev'}.lock").read_text()))
    tests = dict(LOCKED.findall((ROOT / f"ci/locks/requirements-sdk-tests{suffix}.lock").read_text()))

    assert tests["opentelemetry-sdk"] == environment["opentelemetry-sdk"]


# -- licenses -------------------------------------------------------------------------------------

PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|CNRI-Python|Zlib|CC0|Unlicense|DFSG", re.IGNORECASE
)
# Copyleft that applies to their own files only; used unmodified.
FILE_COPYLEFT = {"certifi", "hypothesis", "orjson", "pathspec", "tqdm"}
# Packages whose metadata name no license, with that of their license file.
BY_FILE = {"mistralai": "Apache-2.0"}


def licenses(package: str) -> list[str]:
    metadata = importlib.metadata.metadata(package)
    if expression := metadata.get("License-Expression"):
        return re.split(r" (?:AND|OR) ", expression)
    if package in BY_FILE:
        return [BY_FILE[package]]
    trove = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier", []) if c.startswith("License")]
    return trove or re.split(r" (?:AND|OR) ", (metadata.get("License") or "").partition("\n")[0])


def test_every_locked_package_has_a_permissive_license():
    rejected = {}
    for package, _ in LOCKED.findall((ROOT / "ci/locks/requirements-dev.lock").read_text()):
        try:
            declared = licenses(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # locked for another platform or interpreter
        if package not in FILE_COPYLEFT and not all(PERMISSIVE.search(license_) for license_ in declared):
            rejected[package] = declared
    assert rejected == {}


# -- the package ----------------------------------------------------------------------------------


def test_the_changelog_has_this_version():
    version = semconv.VERSION

    assert re.search(
        rf"^## \[({re.escape(version)}|Unreleased)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_package_is_marked_as_typed():
    assert (SOURCE / "py.typed").is_file()


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_interop_runs_every_module_with_such_tests():
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    marked = {str(path.relative_to(ROOT)) for path in tests if "mark.interop" in path.read_text()}
    recipe = (ROOT / "Makefile").read_text().partition("-m interop")[2].partition("\n\n")[0]

    assert marked
    assert marked == {word for word in recipe.split() if word.endswith(".py")}
