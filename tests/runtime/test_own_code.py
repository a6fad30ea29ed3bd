"""Code is the program's own if it lies outside installed distributions and the standard library."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

import somatrace
from somatrace.runtime.own_code import is_own_code, is_own_file, is_own_module


def module_at(monkeypatch: pytest.MonkeyPatch, name: str, file: Path | None) -> None:
    """Make a module as the import system would, with an empty source file."""
    made = ModuleType(name)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        made.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize(
    "scope", ["opentelemetry.instrumentation.openai", "json", "logging", "pytest", "httpx"]
)
def test_installed_packages_and_the_standard_library_are_libraries(scope: str) -> None:
    importlib.import_module(scope)

    assert not is_own_module(scope)


@pytest.mark.parametrize(
    "scope", ["", ".", "my service", "not_imported", "app", "tests.nothing", "builtins", "sys"]
)
def test_names_of_no_module_are_libraries(scope: str) -> None:
    assert not is_own_module(scope)


def test_a_module_of_the_program_is_its_own() -> None:
    assert is_own_module(__name__)


@pytest.mark.parametrize(
    ("name", "file"), [("shop", "shop.py"), ("shop", "shop/__init__.py"), ("shop.tax", "shop/tax.py")]
)
def test_modules_outside_distributions_are_the_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, file: str
) -> None:
    module_at(monkeypatch, name, tmp_path / file)

    assert is_own_module(name)


@pytest.mark.parametrize("folder", ["lib/site-packages", "python3/dist-packages"])
def test_modules_in_a_folder_for_distributions_are_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    module_at(monkeypatch, "shop.tax", tmp_path / folder / "shop" / "tax.py")

    assert not is_own_module("shop.tax")


def test_a_link_into_a_folder_for_distributions_leads_to_a_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = tmp_path / "site-packages" / "shop.py"
    module_at(monkeypatch, "shop", real)
    (tmp_path / "linked.py").symlink_to(real)
    sys.modules["shop"].__file__ = str(tmp_path / "linked.py")

    assert not is_own_module("shop")


def test_beside_the_metadata_of_distributions_only_their_modules_are_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`pip install --target` puts libraries into the folder of the program."""
    record = tmp_path / "crewlib-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text(
        "crewlib/__init__.py,,\ncrewlib/core.py,,\nsingle.py,,\ncrewlib-1.0.dist-info/RECORD,,\n"
    )
    module_at(monkeypatch, "crewlib.core", tmp_path / "crewlib" / "core.py")
    module_at(monkeypatch, "single", tmp_path / "single.py")
    module_at(monkeypatch, "shop.tax", tmp_path / "shop" / "tax.py")

    assert not is_own_module("crewlib.core")
    assert not is_own_module("single")
    assert is_own_module("shop.tax")


def test_distributions_without_a_list_of_files_count_as_containing_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    module_at(monkeypatch, "shop", tmp_path / "shop.py")

    assert not is_own_module("shop")


def test_a_file_is_judged_by_the_same_rules_without_its_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "crewlib-1.0.dist-info" / "RECORD"
    record.parent.mkdir()
    record.write_text("crewlib/core.py,,\nsingle.py,,\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "linked.py").symlink_to(tmp_path / "site-packages" / "shop.py")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert is_own_file(str(tmp_path / "shop" / "tax.py"))
    assert is_own_file(__file__)
    for library in (
        tmp_path / "crewlib" / "core.py",
        tmp_path / "single.py",
        tmp_path / "linked.py",
        tmp_path / "site-packages" / "shop.py",
        Path(json.__file__),
        Path(somatrace.__file__),
    ):
        assert not is_own_file(str(library))


@pytest.mark.parametrize("name", ["", "<string>", "<frozen importlib._bootstrap>", "x" * 2000, "a\0b"])
def test_code_without_a_file_is_not_the_programs(name: str) -> None:
    assert not is_own_file(name)


def test_code_executed_from_a_text_is_not_the_programs() -> None:
    assert is_own_code(__file__, globals())
    assert not is_own_code(__file__, {"__name__": __name__})
    assert not is_own_code("<string>", globals())


@pytest.mark.parametrize("file", ["archive.pyz/shop.py", "gone.py"])
def test_modules_without_a_file_of_their_own_are_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    module_at(monkeypatch, "shop", None)
    sys.modules["shop"].__file__ = str(tmp_path / file)

    assert not is_own_module("shop")


def test_the_main_module_is_the_programs_with_or_without_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module_at(monkeypatch, "__main__", None)
    assert is_own_module("__main__")

    module_at(monkeypatch, "__main__", tmp_path / "run.py")
    assert is_own_module("__main__")

    module_at(monkeypatch, "__main__", tmp_path / "site-packages" / "tool" / "__main__.py")
    assert not is_own_module("__main__")


def test_a_lazily_loaded_module_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lazy_shop.py").write_text("raise SystemExit('imported')\n")
    spec = importlib.util.spec_from_file_location("lazy_shop", tmp_path / "lazy_shop.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_shop", module)
    spec.loader.exec_module(module)

    assert is_own_module("lazy_shop")


def test_objects_that_are_no_modules_are_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strange:
        __slots__ = ()

        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    monkeypatch.setitem(sys.modules, "strange", Strange())

    assert not is_own_module("strange")
