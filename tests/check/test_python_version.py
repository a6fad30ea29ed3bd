"""A Python that is too old gets one line that says what is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = {
    "script": "runpy.run_path('ci/check_entrypoints.py', run_name='__main__')",
    "module": "runpy.run_module('somatrace.check', run_name='__main__')",
    "command": "sys.argv[1:] = ['check', '.']; runpy.run_module('somatrace', run_name='__main__')",
}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_an_older_python_is_refused_in_one_line(entry: str) -> None:
    program = f"import runpy, sys; sys.version_info = (3, 10, 4); {entry}"

    result = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True
    )

    assert result.stderr == "somatrace needs Python 3.11 or newer; this is Python 3.10.\n"
    assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.parametrize(
    "path",
    [
        "ci/check_entrypoints.py",
        "somatrace/__init__.py",
        "somatrace/__main__.py",
        "somatrace/check/__init__.py",
        "somatrace/check/__main__.py",
        "somatrace/check/python_version.py",
    ],
)
def test_what_runs_before_the_refusal_is_syntax_of_python_3_7(path: str) -> None:
    ast.parse((ROOT / path).read_text(), feature_version=(3, 7))
