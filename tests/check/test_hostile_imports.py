"""The check imports nothing from the directory in which it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Modules that the check uses, or might. Those that Python itself needs before the first line of
#: `python -m somatrace.check` runs are not among them: only -I keeps these from the tree.
NAMES = [
    "__future__", "argparse", "ast", "bisect", "dataclasses", "difflib", "fnmatch", "gc", "hashlib", "hmac",
    "html", "json", "pathlib", "pickle", "random", "secrets", "symtable", "tempfile", "textwrap", "tomllib",
    "typing", "typer", "click", "opentelemetry", "urllib", "yaml",
]  # fmt: skip
EVERY = [
    *NAMES,
    "contextlib",
    "importlib",
    "runpy",
    "warnings",
    "functools",
    "re",
    "threading",
    "types",
    "enum",
]


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "services/orders").mkdir(parents=True)
    (tmp_path / "services/orders/main.py").write_text(
        "from somatrace import init_tracing\ninit_tracing('orders')\n"
    )
    return tmp_path


def plant(folder: Path, names: list[str]) -> None:
    """A module of each name that leaves a mark and ends the process when it is imported."""
    for name in names:
        (folder / f"{name}.py").write_text(
            f"import os\nos.close(os.open({str(folder / 'ran')!r}, os.O_CREAT))\nos._exit(7)\n"
        )


def run(tree: Path, *command: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=tree,
        env={"PATH": os.environ["PATH"], "HOME": str(tree.parent), **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-I", "-m", "somatrace.check"],
        [sys.executable, "-I", "-m", "somatrace", "check"],
        [sys.executable, "-I", str(ROOT / "ci/check_entrypoints.py")],
        [str(Path(sys.executable).with_name("somatrace")), "check"],
    ],
    ids=["module", "package", "script", "command"],
)
def test_modules_of_the_tree_are_not_imported(tree, command):
    plant(tree, EVERY)

    assert run(tree, *command, "--no-cache") == (0, "1 process: every one is traced\n")
    assert not (tree / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", [None, "", ".", "src", "./src:.", "/nowhere:"])
def test_without_isolation_only_what_python_itself_needs_is_imported(tree, path):
    (tree / "src").mkdir()
    plant(tree, NAMES)
    plant(tree / "src", NAMES)
    environment = {} if path is None else {"PYTHONPATH": path}

    for command in (["-m", "somatrace.check"], [str(ROOT / "ci/check_entrypoints.py")]):
        found = run(tree, sys.executable, *command, "--no-cache", **environment)
        assert found == (0, "1 process: every one is traced\n"), command
    assert not (tree / "ran").exists()


@pytest.mark.slow
def test_the_working_directory_is_dropped_under_each_of_its_names(tree, tmp_path_factory):
    alias = tmp_path_factory.mktemp("alias") / "linked"
    alias.symlink_to(tree)
    code = (
        "import sys; sys.path[:0] = ['', '.', 'src', {0!r}, {1!r}, {1!r} + '/src', '/kept']; "
        "from somatrace.check.import_path import drop_working_directory; drop_working_directory(); "
        "print(sys.path[0]); import json"
    ).format(str(tree), str(alias))

    assert run(tree, sys.executable, "-c", code) == (0, "/kept\n")


@pytest.mark.slow
def test_an_interpreter_inside_the_working_directory_keeps_its_own_directories(tree):
    code = (
        "import sys; sys.prefix = {0!r}; sys.path[:] = [{0!r} + '/lib', {1!r} + '/lib', *sys.path]; "
        "from somatrace.check.import_path import drop_working_directory; drop_working_directory(); "
        "print(sys.path[0] == {0!r} + '/lib', {1!r} + '/lib' in sys.path)"
    ).format(str(tree / ".venv"), str(tree))

    assert run(tree, sys.executable, "-c", code) == (0, "True False\n")


@pytest.mark.slow
def test_a_deleted_working_directory_is_no_error(tree):
    code = (
        "import os, sys; from somatrace.check.import_path import drop_working_directory; "
        "os.rmdir(os.getcwd()); drop_working_directory(); print('fine')"
    )
    gone = tree / "gone"
    gone.mkdir()

    assert run(gone, sys.executable, "-c", code) == (0, "fine\n")


def test_the_package_itself_imports_nothing_before_the_working_directory_is_dropped():
    for path in ("somatrace/__init__.py", "somatrace/check/__init__.py", "somatrace/check/import_path.py"):
        lines = (ROOT / path).read_text().splitlines()
        imported = [line for line in lines if line.startswith(("import ", "from "))]
        assert set(imported) <= {"import os", "import sys"}, path
