"""Hooks after the imports of modules, in programs in which nothing has loaded wrapt yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import run_program

pytestmark = pytest.mark.slow

START = """
import sys
from somatrace.instrumentation.post_import import register
called = []
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A directory with modules to import."""
    package = tmp_path / "library"
    package.mkdir()
    (package / "__init__.py").write_text("ready = True\n")
    (package / "part.py").write_text("import library\nready = True\n")
    for number in range(8):
        (tmp_path / f"module_{number}.py").write_text(
            "import time\ntime.sleep(0.01)\nready = True\n" + ("import library.part\n" if number % 2 else "")
        )
    return tmp_path


def output(source: str, directory: Path) -> list[str]:
    return run_program(START + source, directory=directory).stdout.splitlines()


def test_a_hook_is_called_right_after_the_import_of_its_module(library: Path) -> None:
    lines = output(
        """
register(lambda module: called.append((module.__name__, module.ready)), "library")
register(lambda module: called.append((module.__name__, module.ready)), "library.part")
register(lambda module: called.append("again"), "library")
import json, asyncio
print(called)
import library
print(called)
import library.part
print(called)
import library.part
print(type(library.__spec__.loader).__name__, library.__spec__.loader is library.__loader__)
""",
        library,
    )
    assert lines == [
        "[]",
        "[('library', True), 'again']",
        "[('library', True), 'again', ('library.part', True)]",
        "SourceFileLoader True",
    ]


def test_wrapt_is_loaded_with_the_first_of_the_modules(library: Path) -> None:
    lines = output(
        """
register(called.append, "library")
register(called.append, "never_imported")
register(called.append, "sys")
print("wrapt" in sys.modules, called == [sys])
import module_0
print("wrapt" in sys.modules)
import library
print("wrapt" in sys.modules, called == [sys, library])
""",
        library,
    )
    assert lines == ["False True", "False", "True True"]


def test_hooks_that_are_added_later_are_called_too(library: Path) -> None:
    lines = output(
        """
register(lambda module: register(lambda later: called.append(later.__name__), "module_0"), "library")
import library
register(lambda module: called.append(module.__name__), "module_2")
import module_0, module_2
print(called)
""",
        library,
    )
    assert lines == ["['module_0', 'module_2']"]


def test_hooks_are_called_where_the_program_loads_wrapt_itself(library: Path) -> None:
    lines = output(
        """
register(lambda module: called.append(("ours", module.__name__)), "library")
import wrapt
wrapt.register_post_import_hook(lambda module: called.append(("its", module.__name__)), "library")
wrapt.register_post_import_hook(lambda module: called.append(("its", module.__name__)), "module_0")
register(lambda module: called.append(("ours", module.__name__)), "module_0")
import module_0, library
print(sorted(called))
""",
        library,
    )
    assert lines == ["[('its', 'library'), ('its', 'module_0'), ('ours', 'library'), ('ours', 'module_0')]"]


def test_a_module_that_does_not_exist_fails_as_it_does_without_hooks(library: Path) -> None:
    lines = output(
        """
import importlib.util
register(called.append, "missing")
register(called.append, "library")
for attempt in range(2):
    try:
        import missing
    except ModuleNotFoundError as error:
        print(error)
    print(importlib.util.find_spec("missing"))
import library
print(called == [library])
""",
        library,
    )
    assert lines == ["No module named 'missing'", "None"] * 2 + ["True"]


def test_threads_that_import_at_the_same_time_call_every_hook_once(library: Path) -> None:
    lines = output(
        """
import importlib, threading
names = [f"module_{number}" for number in range(8)] + ["library", "library.part"]
for name in names:
    register(lambda module: called.append((module.__name__, module.ready)), name)
together = threading.Barrier(len(names))
def work(name):
    together.wait()
    importlib.import_module(name)
threads = [threading.Thread(target=work, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join(60)
print(any(thread.is_alive() for thread in threads), sorted(called) == sorted((name, True) for name in names))
""",
        library,
    )
    assert lines == ["False True"]


def test_an_import_that_fails_may_be_tried_again(library: Path) -> None:
    (library / "failing.py").write_text(
        "import os\nif 'WORKS' not in os.environ: raise OSError\nready = True\n"
    )
    lines = output(
        """
import os
register(lambda module: called.append(module.ready), "failing")
register(lambda module: called.append(module.ready), "library")
for attempt in range(3):
    try:
        import failing
    except OSError:
        print("failed", called)
    os.environ["WORKS"] = "1"
    import library
print(called)
""",
        library,
    )
    assert lines == ["failed []", "[True, True]"]


def test_looking_for_a_module_imports_nothing_and_keeps_its_hooks(library: Path) -> None:
    lines = output(
        """
import importlib.util
register(called.append, "library")
before = set(sys.modules)
spec = importlib.util.find_spec("library")
print(set(sys.modules) - before, spec.loader.is_package("library"), spec.loader.get_filename() == spec.origin)
import library
print(called == [library])
""",
        library,
    )
    assert lines == ["set() True True", "True"]


def test_a_thread_that_imports_what_wrapt_needs_does_not_wait_for_ever(library: Path) -> None:
    # `shutil` waits in its first line until the other thread, which imports it with wrapt, holds its locks
    (library / "shutil.py").write_text(
        "import threading, builtins\n"
        "if threading.current_thread() is not threading.main_thread():\n"
        "    builtins.begun.set(); builtins.looked.wait(5)\n"
        "from bz2 import open\nReadError = OSError\nget_terminal_size = rmtree = move = copyfileobj = open\n"
    )
    lines = output(
        """
import builtins, threading
builtins.begun, builtins.looked = threading.Event(), threading.Event()
class Looks:
    def find_spec(self, name, path=None, target=None):
        if name == "zipfile" or name == "wrapt": builtins.looked.set()
sys.meta_path.insert(0, Looks())
register(called.append, "library")
def work():
    import shutil
thread = threading.Thread(target=work)
thread.start()
begun.wait(60)
import library
thread.join(60)
print(thread.is_alive(), called == [library])
""",
        library,
    )
    assert lines == ["False True"]
