"""Setup on a fresh machine: finding a Python, reporting missing parts, `make demo`, and benchmarks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "id", "env")


@pytest.fixture
def machine(tmp_path):
    """A PATH with only a shell; `has` adds a program."""
    return Machine(tmp_path / "bin with space")


class Machine:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for tool in TOOLS:
            (path / tool).symlink_to(shutil.which(tool))

    def has(self, name: str, script: str = "exit 0") -> Path:
        program = self.path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    def find_python(self, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "ci" / "tools" / "find-python"],
            env={"PATH": str(self.path), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )


@pytest.mark.parametrize(
    ("manager", "line"),
    [
        ("apt-get", "apt-get install -y python3 python3-venv"),
        ("dnf", "dnf install -y python3.12"),
        ("apk", "apk add python3"),
        ("brew", "brew install python@3.13"),
    ],
)
def test_without_python_the_install_command_is_printed(machine, manager, line):
    machine.has(manager)

    found = machine.find_python()

    assert found.returncode == 2
    assert found.stdout == ""
    assert line in found.stderr


def test_an_old_python_is_ignored(machine):
    machine.has("python3", "exit 1")

    found = machine.find_python()

    assert found.returncode == 2
    assert "Python 3.11 or newer was not found" in found.stderr


def test_a_python_without_venv_is_reported_with_the_install_command(machine):
    machine.has("apt-get")
    python = machine.has("python3", f'case "$2" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"')

    found = machine.find_python()

    assert found.returncode == 2
    assert f"{python} cannot create virtual environments" in found.stderr
    assert f"apt-get install -y python{sys.version_info[0]}.{sys.version_info[1]}-venv" in found.stderr


def test_the_newest_python_that_can_create_environments_is_used(machine):
    machine.has("python3.13", "exit 1")
    wanted = machine.has("python3.12", f'exec "{sys.executable}" "$@"')
    machine.has("python3", f'exec "{sys.executable}" "$@"')

    found = machine.find_python()

    assert (found.returncode, found.stdout) == (0, f"{wanted}\n")


def test_the_python_variable_takes_precedence_even_with_a_space_in_its_path(machine):
    machine.has("python3", f'exec "{sys.executable}" "$@"')
    wanted = machine.has("mine", f'exec "{sys.executable}" "$@"')

    assert machine.find_python(PYTHON=str(wanted)).stdout == f"{wanted}\n"


def test_a_missing_python_from_the_variable_is_reported(machine):
    found = machine.find_python(PYTHON="/nowhere/python")

    assert found.returncode == 2
    assert "PYTHON=/nowhere/python" in found.stderr


def test_make_without_arguments_lists_the_targets():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)

    assert listed.returncode == 0
    for target in (
        "demo",
        "test",
        "page",
        "lint",
        "lock",
        "bench-start",
        "bench-road",
        "bench-page",
        "clean",
        "help",
    ):
        assert f"make {target} " in listed.stdout


@pytest.fixture
def checkout(tmp_path):
    """A copy of the tracked files only."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=180
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout: no list of tracked files")
    copy = tmp_path / "checkout"
    for name in filter(None, listing.stdout.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture
def installing(machine, tmp_path):
    """A project with one lock file, and a Python whose `venv` and `pip` only note that they ran."""
    project = tmp_path / "project"
    for name in ("venv", "find-python"):
        (project / "ci" / "tools").mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / "ci" / "tools" / name, project / "ci" / "tools" / name)
    (project / "pyproject.toml").touch()
    (project / "lock").write_text("one==1\n")
    python = machine.has(
        "python3",
        f"""case "$*" in
            "-m venv"*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python";;
            "-m pip"*) echo pip >>"{tmp_path}/log";;
            *) exec "{sys.executable}" "$@";;
        esac""",
    )
    for tool in ("cat", "cp", "dirname", "grep", "mkdir", "rm"):
        (machine.path / tool).symlink_to(shutil.which(tool))

    def install(**environ: str) -> tuple[int, list[str]]:
        environ |= {"PATH": str(machine.path), "PYTHON": str(python)}
        done = subprocess.run(
            ["sh", "ci/tools/venv", "env", "lock"], cwd=project, env=environ, check=False, timeout=180
        )
        return done.returncode, (tmp_path / "log").read_text().split()

    return install


def test_uv_installs_an_environment_where_it_is_given(installing, machine, tmp_path):
    uv = machine.has("given-uv", f'echo uv >>"{tmp_path}/log"')

    assert installing(UV=str(uv)) == (0, ["uv", "uv"])  # the lock, and the project itself


def test_pip_installs_an_environment_without_uv(installing):
    assert installing() == (0, ["pip", "pip"])


def test_pip_installs_an_environment_where_uv_fails(installing, machine, tmp_path):
    uv = machine.has("given-uv", f'echo uv >>"{tmp_path}/log"; exit 1')

    assert installing(UV=str(uv)) == (0, ["uv", "pip", "pip"])


def promised_by_the_readme() -> str:
    """The output of `make demo` shown in the README."""
    return re.search(r"^```text\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]


def shape(printed: str) -> set[str]:
    """The lines with every figure replaced by `#`."""
    lines = (re.sub(r"\d[\d.,]*(?: ms| s)?\b", "#", line) for line in printed.splitlines())
    return {" ".join(line.split()) for line in lines}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unmeasured")
def test_make_demo_on_a_clean_checkout_with_an_empty_home_prints_the_table(checkout, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    # without uv, as on a new machine
    left_out = ("SOMATRACE_", "UV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    cache = subprocess.check_output([sys.executable, "-m", "pip", "cache", "dir"], text=True).strip()
    environ |= {"HOME": str(home), "PYTHON": sys.executable, "PIP_CACHE_DIR": cache}
    run = {"cwd": checkout, "env": environ, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}

    first = subprocess.run(["make", "demo"], check=False, timeout=400, **run)

    assert first.returncode == 0, first.stdout + first.stderr
    assert shape(promised_by_the_readme()) <= shape(first.stdout)
    assert "Traceback" not in first.stdout + first.stderr
    assert list(home.rglob("*somatrace*")) == []

    again = ["ci/tools/venv", ".venv-demo", "ci/locks/requirements.lock"]  # what `make demo` does first
    second = subprocess.run(again, check=False, timeout=200, **run)

    assert (second.returncode, second.stdout) == (0, ""), second.stderr  # nothing is installed again


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("unmeasured")
def test_the_startup_benchmark_measures_every_case_and_prints_its_limits():
    # one round is too few for the ratios; the benchmark itself checks that each span arrives
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "start.py", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )

    assert done.returncode in (0, 1), done.stderr
    assert "init_tracing, Langfuse target, one span flushed" in done.stdout
    assert done.stdout.count(" kept |") + done.stdout.count(" MISSED |") == 4
