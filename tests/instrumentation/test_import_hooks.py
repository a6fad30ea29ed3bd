"""Instrumentation waits for the program's imports and never makes one fail."""

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
    """A package with a submodule that has not been imported yet."""
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


def test_an_already_imported_library_is_instrumented_at_once(library: str):
    coverage, seen = Coverage(), []
    importlib.import_module(library)
    when_imported(library, coverage, lambda module: seen.append(module.value))
    assert seen == [1]


def test_the_return_value_of_the_installer_is_the_librarys_status(library: str):
    coverage = Coverage()
    when_imported(library, coverage, lambda _: "off: not wanted")
    importlib.import_module(library)
    assert coverage.states == {library: "off: not wanted"}


def test_a_failing_installer_is_reported_and_the_import_succeeds(library: str):
    coverage = Coverage()

    def broken(module: ModuleType) -> None:
        raise AttributeError("no such class")

    when_imported(library, coverage, broken)
    assert importlib.import_module(library).value == 1
    assert coverage.states[library] == "failed (AttributeError: no such class)"
    assert any(library in problem for problem in coverage.problems)


def test_a_loaded_namespace_package_is_reported_as_off_and_not_as_waiting(library: str):
    coverage = Coverage()
    (Path(sys.path[0]) / library / "__init__.py").unlink()
    when_imported(library, coverage, lambda _: None)
    assert coverage.states == {library: "waiting for import"}
    assert coverage.problems == ()

    importlib.import_module(f"{library}.client")

    reason = "the installed version is a namespace package, whose import no hook sees"
    assert coverage.states == {library: f"off: {reason}"}
    assert coverage.problems == (f"{library}: {reason}; its calls are not traced",)


def test_a_module_that_was_put_into_sys_modules_is_reported_as_off(library, monkeypatch: pytest.MonkeyPatch):
    coverage = Coverage()
    when_imported(library, coverage, lambda _: None)
    monkeypatch.setitem(sys.modules, library, ModuleType(library))
    assert coverage.states[library].startswith("off: it was put into sys.modules")


def test_a_blocked_import_and_one_in_progress_stay_waiting(library, monkeypatch: pytest.MonkeyPatch):
    coverage, states = Coverage(), []
    when_imported(library, coverage, lambda _: states.append(coverage.states[library]))
    monkeypatch.setitem(sys.modules, library, None)
    assert coverage.states == {library: "waiting for import"}
    monkeypatch.delitem(sys.modules, library)
    importlib.import_module(library)
    assert states == ["waiting for import"]


class Service:
    """A typical class of a library."""

    def ask(self, question: str, *, loud: bool = False) -> str:
        """Answers."""
        return question.upper() if loud else question

    async def wait(self, seconds: int) -> int:
        return seconds


def test_a_wrapped_method_keeps_its_name_signature_and_kind():
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
