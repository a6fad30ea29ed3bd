"""The documentation is run: its Python, its commands, its settings, its links."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from somatrace import Status
from somatrace.config import resolve
from somatrace.config.specs import ALSO_READ, SPECS
from somatrace.semconv import VERSION
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Where a command of the documentation is run: a file, and what of the command stands in it.
RUN_IN = {
    "make demo": ("tests/test_setup.py", '["make", "demo"]'),
    "make load TENANTS=5 WORKFLOWS=order-status,support-answer RATE=4 ERRORS=0.1 MINUTES=1": (
        "tests/services/demo/test_load.py",
        '"services.demo.load"',
    ),
    "make test": ("ci/run", "make --no-print-directory test"),
    "make lint": ("ci/run", "ci/lint"),
    "make bench-start": ("tests/test_setup.py", '"benchmarks" / "start.py"'),
    "make bench-page": ("tests/local/browser/test_benchmark.py", '"benchmarks" / "page.py"'),
    "make differential": ("tests/benchmarks/test_differential.py", '"benchmarks.differential", "httpx"'),
    ".venv/bin/python -m benchmarks.faults": (
        "tests/benchmarks/test_faults.py",
        '"benchmarks.faults", "--spans"',
    ),
    "make bench-faults": ("tests/benchmarks/test_faults.py", '"benchmarks.faults", "--peers"'),
    ".venv/bin/python -m benchmarks.soak": (
        "tests/benchmarks/test_soak.py",
        '"benchmarks.soak", "--seconds"',
    ),
    "make bench-road": ("tests/benchmarks/test_road.py", '"benchmarks.road", "--quick"'),
    "pip install .": ("ci/run", "pip install -qq"),
    "pip install '.[cli,local]' openai": ("ci/tools/venv", "install --no-deps"),
    "python3 -m venv .venv-tutorial": ("ci/tools/venv", '-m venv --clear "$venv"'),
    ". .venv-tutorial/bin/activate": ("ci/tools/venv", '"$venv/bin/python"'),
    '.venv/bin/python -m pytest -n 4 --dist worksteal -m "not slow"': (
        "ci/run",
        '-m pytest -n 4 --dist worksteal -m "not slow"',
    ),
    ".venv/bin/python -m pytest tests/test_project.py": ("ci/run", "-m pytest"),
    "python -m somatrace.modelserver": ("tests/test_docs.py", '"-m", "somatrace.modelserver"'),
    ".venv/bin/python benchmarks/smoke.py": ("tests/smoke/test_benchmark.py", '"benchmarks" / "smoke.py"'),
    ".venv/bin/python benchmarks/guard.py --needed": (
        "tests/guard/test_guard_benchmark.py",
        '"benchmarks" / "guard.py"',
    ),
    ".venv/bin/python benchmarks/redact.py --rounds 5": (
        "tests/guard/redaction/test_redaction_benchmark.py",
        '"benchmarks" / "redact.py"',
    ),
    ".venv/bin/python -m pytest -n 2 tests/leak_matrix": ("ci/run", "-m pytest"),
    ".venv/bin/python benchmarks/mutants.py --sample 20": (
        "tests/check/test_mutants.py",
        '"benchmarks" / "mutants.py"',
    ),
    ".venv/bin/python benchmarks/check.py": ("tests/check/test_benchmark.py", '"benchmarks" / "check.py"'),
    "python ask.py": ("tests/test_docs.py", "def test_python_in_the_documentation_does_what_it_says"),
}


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its page, language, text, and what it is said to print."""

    page: Path
    number: int
    language: str
    text: str
    prints: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for page in PAGES:
        fences = FENCE.findall(page.read_text())
        for number, (language, text) in enumerate(fences):
            if language in languages:
                found.append(Block(page, number, language, text, said_to_print(fences[number + 1 :])))
    return found


def said_to_print(following: list[tuple[str, str]]) -> str | None:
    """The text block that follows, perhaps after the command that runs the program."""
    for language, text in following[:2]:
        if language == "text":
            return text
        if language != "bash":
            return None
    return None


def commands() -> list[str]:
    lines = [line for block in blocks("bash", "console") for line in block.text.splitlines()]
    return sorted({line.removeprefix("$ ").strip() for line in lines if line and not line.startswith("#")})


@pytest.fixture(scope="module")
def model_server(tmp_path_factory) -> Iterator[str]:
    """The URL of a local model server in a process of its own."""
    ready = tmp_path_factory.mktemp("modelserver") / "ready"
    arguments = [sys.executable, "-m", "somatrace.modelserver", "--port", "0", "--ready-file", str(ready)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    try:
        wait_until(ready.exists)
        yield ready.read_text().strip()
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_in_the_documentation_does_what_it_says(block, model_server, tmp_path, monkeypatch):
    for package in re.findall(r"^(?:from|import) (\w+)", block.text, re.MULTILINE):
        pytest.importorskip(package, reason="a library that this example is about")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model_server}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    program = tmp_path / "program.py"
    program.write_text(block.text)

    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", str(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == (block.prints or "")


@pytest.mark.parametrize("command", [line for line in commands() if not line.startswith("export ")])
def test_every_command_in_the_documentation_is_run_somewhere(command):
    if command.startswith("somatrace "):
        pytest.importorskip("somatrace.cli", reason="the commands need the extra cli")
        done = subprocess.run(
            [sys.executable, "-m", *command.split()[:2], "--help"],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return
    place, text = RUN_IN[command]
    assert text in (ROOT / place).read_text()


def test_every_exported_setting_in_the_documentation_is_understood():
    exports = [line.removeprefix("export ") for line in commands() if line.startswith("export ")]
    pairs = [pair.partition("=")[::2] for line in exports for pair in line.split()]

    assert pairs
    for name, value in pairs:
        if name.startswith("OPENAI_"):
            continue
        assert name.removesuffix("_FILE") in known_variables()
        if not name.endswith("_FILE") and not name.startswith("LANGFUSE_"):
            assert resolve("docs", None, {name: value}).sources


def known_variables() -> set[str]:
    return {variable.name for spec in SPECS for variable in spec.variables}


def test_every_variable_named_in_the_documentation_exists():
    honoured_elsewhere = {"OTEL_RESOURCE_ATTRIBUTES", "OTEL_SERVICE_NAME", *ALSO_READ}
    # not the markers of the guard, such as [LANGFUSE_KEY]
    variable = re.compile(r"(?<!\[)\b(?:SOMATRACE|OTEL|LANGFUSE|TRACELOOP)_[A-Z_]*[A-Z]\b")
    # these pages have tests of their own, which walk their tables or compare them with the code
    checked_elsewhere = {"api.md", "compatibility.md", "configuration.md"}
    pages = [page for page in PAGES if page.name not in checked_elsewhere]

    known = known_variables() | honoured_elsewhere
    named = {name for page in pages for name in variable.findall(page.read_text())}

    assert {name for name in named - known if name.removesuffix("_FILE") not in known} == set()


def test_every_figure_of_status_named_in_the_documentation_exists():
    fields = {field.name for field in dataclasses.fields(Status)}
    named = {name for page in PAGES for name in re.findall(r"status\(\)\.(\w+)", page.read_text())}

    assert named
    assert named <= fields


def test_every_make_target_named_in_the_documentation_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }

    assert named <= targets


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="signatures as Python 3.11 shows them")
def test_the_api_reference_matches_the_code():
    done = subprocess.run(
        [sys.executable, ROOT / "ci" / "tools" / "api-reference", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}

    assert {name for name in pages if f"]({name})" not in index} == set()


def test_no_page_installs_from_an_index_that_does_not_have_it():
    bare = re.compile(r"pip install (?:-\S+ )*somatrace(?![\w\[-])")

    assert [page.name for page in PAGES if bare.search(page.read_text())] == []


@pytest.mark.parametrize("page", ["README.md", "docs/checking.md"])
def test_the_wheel_that_a_page_installs_is_the_one_that_is_built(page):
    names = re.findall(r"pip install \./(\S+\.whl)", (ROOT / page).read_text())

    assert names == [f"somatrace-{VERSION}-py3-none-any.whl"]


def test_the_kubernetes_snippet_sets_what_it_says():
    [snippet] = [block for block in blocks("yaml") if "OTEL_RESOURCE_ATTRIBUTES" in block.text]
    environ: dict[str, str] = {}
    for variable in yaml.safe_load(snippet.text)["env"]:
        value = variable.get("value") or variable["name"].lower()
        # as Kubernetes does it: $(NAME) of variables that stand before
        environ[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: environ[match[1]], value).strip()
    environ.pop("LANGFUSE_SECRET_KEY_FILE")
    environ["LANGFUSE_SECRET_KEY"] = "sk-lf-1"

    settings = resolve("orchestrator", None, environ)

    assert settings.problems == ()
    assert settings.target.kind == "langfuse"
    assert settings.environment == "production"
    assert settings.service_version == "1.4.2"
    for name in ("k8s.pod.name", "k8s.pod.uid", "k8s.namespace.name", "k8s.node.name", "k8s.deployment.name"):
        assert settings.resource_attributes[name]
