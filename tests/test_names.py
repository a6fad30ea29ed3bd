"""The package's names: public imports that must keep working, unique class names, unique module names."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "somatrace"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Every dotted name that the README or a page of docs/ has ever shown, in any commit. Never shortened: a name
#: that moves keeps an alias and goes to MOVED.
DOCUMENTED = (
    "somatrace.bind",
    "somatrace.bound",
    "somatrace.check",
    "somatrace.Config",
    "somatrace.config.Config",
    "somatrace.ConfigError",
    "somatrace.content",
    "somatrace.ContentPolicy",
    "somatrace.costs.cost_report",
    "somatrace.event",
    "somatrace.fail",
    "somatrace.flush",
    "somatrace.guard.redact_text",
    "somatrace.guard.terms",
    "somatrace.guard.terms.dictionary",
    "somatrace.guard.terms.pattern",
    "somatrace.incoming",
    "somatrace.init_tracing",
    "somatrace.Kind",
    "somatrace.Listener",
    "somatrace.modelserver",
    "somatrace.outgoing",
    "somatrace.propagation.ignored",
    "somatrace.Record",
    "somatrace.shutdown",
    "somatrace.span",
    "somatrace.Status",
    "somatrace.status",
    "somatrace.testing.assert_no_content",
    "somatrace.testing.assert_tags",
    "somatrace.testing.capture",
    "somatrace.tracing.init_tracing",
    "somatrace.usage",
)
MOVED = ("somatrace.carry.ignored",)

#: Names that several modules may share, because each says the same of its package.
GENERIC_MODULES = {
    "__init__": "a package's own module",
    "__main__": "`python -m` of a package",
    "app": "the ASGI application of a server",
    "child": "the program that a command runs in a process of its own",
    "command": "the commands of one part, as the command line has them",
    "endpoints": "the HTTP endpoints of one API",
    "resolver": "computes an effective value from several sources",
    "settings": "the effective settings of one part",
}


def resolve(dotted: str) -> object:
    """The object behind a dotted name: the longest importable module, then attributes."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("dotted", DOCUMENTED)
def test_a_documented_name_can_be_imported(dotted):
    assert resolve(dotted) is not None


@pytest.mark.parametrize("dotted", MOVED)
def test_a_documented_name_that_moved_still_works_and_warns(dotted):
    with pytest.warns(DeprecationWarning, match="has moved: use somatrace"):
        assert resolve(dotted) is not None


def test_the_pages_show_no_name_that_is_not_guaranteed():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    shown = set()
    for page in pages:
        text = page.read_text()
        for module, names in re.findall(r"(?m)^\s*from (somatrace[.\w]*) import ([\w, ]+)$", text):
            shown |= {f"{module}.{name.strip()}" for name in names.split(",")}
        # The maps of the code name internal modules; they promise nothing about them.
        if page.name not in {"architecture.md", "glossary.md"}:
            called = re.findall(r"`(somatrace(?:\.\w+)+)\(?", text)
            shown |= {name for name in called if is_importable(name)}
    assert shown <= {*DOCUMENTED, *MOVED}


def is_importable(dotted: str) -> bool:
    """Attribute keys and logger names look like dotted names too; they lead to nothing."""
    if dotted in {"somatrace.__all__", "somatrace.py"}:
        return False
    try:
        resolve(dotted)
    except (ModuleNotFoundError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("module", ["somatrace", "somatrace.check", "somatrace.modelserver"])
def test_a_module_that_is_run_by_name_runs(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False, timeout=180
    )

    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout.lower()


def test_the_audit_logger_keeps_its_name():
    from somatrace.guard.policy import resolver

    assert resolver.audit.name == "somatrace.audit"


def test_public_classes_have_unique_names():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_modules_share_a_name_only_where_it_is_a_generic_one():
    places = defaultdict(list)
    for path in MODULES:
        places[path.stem].append(str(path.relative_to(PACKAGE)))
    shared = {name for name, found in places.items() if len(found) > 1}
    assert shared == set(GENERIC_MODULES)
