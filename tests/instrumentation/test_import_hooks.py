"""Instrumentation waits for the program's imports, and an import never fails because of it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from somatrace.instrumentation.coverage import Coverage
from somatrace.instrumentation.import_hooks import when_imported, wrap_method


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package with a submodule that nothing has imported yet."""
    name = f"library_{abs(hash(request.node.name)):x}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("value = 1\n")
    (package / "client.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_library_that_is_not_imported_stays_unimported_and_is_reported_as_waiting(library: str):
    coverage = Coverage()
    when_imported(library, coverage, lambda _: None)
    assert library not in sys.modules
    assert coverage.states == {library: "waiting for import"}


def test_a_library_is_instrumented_after_its_import_with_the_loaded_module(library: str):
    coverage, seen = Coverage(), []
    when_imported(f"{library}.client", coverage, lambda module: seen.append(module.value))
    importlib.import_module(f"{library}.client")
    assert seen == [2]
    assert coverage.states == {library: "on"}


def test_a_library_that_is_imported_already_is_instrumented_at_once(library: str):
    coverage, seen = Coverage(), []
    importlib.import_module(library)
    when_imported(library, coverage, lambda module: seen.append(module.value))
    assert seen == [1]


def test_what_the_installer_returns_is_what_the_status_says(library: str):
    coverage = Coverage()
    when_imported(library, coverage, lambda _: "off: not wanted")
    importlib.import_module(library)
    assert coverage.states == {library: "off: not wanted"}


def test_an_installer_that_fails_is_a_problem_line_and_the_import_succeeds(library: str):
    coverage = Coverage()

    def broken(module: ModuleType) -> None:
        raise AttributeError("no such class")

    when_imported(library, coverage, broken)
    assert importlib.import_module(library).value == 1
    assert coverage.states[library] == "failed (AttributeError: no such class)"
    assert any(library in problem for problem in coverage.problems)


class Service:
    """What a library's class looks like."""

    def ask(self, question: str, *, loud: bool = False) -> str:
        """Answers."""
        return question.upper() if loud else question

    async def wait(self, seconds: int) -> int:
        return seconds


def test_a_wrapped_method_keeps_its_name_its_signature_and_its_kind():
    service, seen = Service(), []
    before = inspect.signature(Service.ask)

    def note(call, instance, args, kwargs):
        seen.append((instance is service, args, kwargs))
        return call(*args, **kwargs)

    async def double(call, instance, args, kwargs):
        return 2 * await call(*args, **kwargs)

    wrap_method(Service, "ask", note)
    wrap_method(Service, "wait", double)
    assert service.ask("why", loud=True) == "WHY"
    assert seen == [(True, ("why",), {"loud": True})]
    assert (Service.ask.__name__, Service.ask.__doc__, inspect.signature(Service.ask)) == (
        "ask",
        "Answers.",
        before,
    )
    assert inspect.iscoroutinefunction(service.wait)
    assert asyncio.run(service.wait(2)) == 4
    with pytest.raises(TypeError):
        service.ask()
