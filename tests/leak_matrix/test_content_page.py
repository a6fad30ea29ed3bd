"""docs/content.md matches the guard's tables and the matrix."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.leak_matrix.rows import CLIENTS, HERE, cases


def test_the_page_matches_the_code(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "ci" / "tools" / "content-page", "--check"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_every_client_file_has_a_row() -> None:
    assert {path.stem for path in (HERE / "clients").glob("*.py")} == set(CLIENTS)


@pytest.mark.slow  # and only where the development lock is installed
@pytest.mark.parametrize("client", CLIENTS)
def test_rows_name_cases_and_installed_releases(client: str, root: Path) -> None:
    lines = (root / "docs" / "content.md").read_text().splitlines()
    row = next(line for line in lines if f"| {', '.join(cases(client))} |" in line)

    assert all(f"{name} {version(name)}" in row for name in CLIENTS[client])
