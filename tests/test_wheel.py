"""The built wheel: complete, free of anything else, and usable without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unmeasured")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", directory, ROOT],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = directory.glob("somatrace-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel's contents in a directory of their own, to be found before the checkout."""
    directory = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def run(installed: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in `directory`, with the installed package and its dependencies."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packaged = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "somatrace").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert packaged == tree


def test_every_module_of_the_wheel_can_be_imported(installed, tmp_path):
    modules = sorted(
        str(path.relative_to(installed).with_suffix("")).replace("/", ".").removesuffix(".__init__")
        for path in (installed / "somatrace").rglob("*.py")
        if path.stem != "__main__"
    )
    program = f"import importlib, somatrace\nfor name in {modules!r}: importlib.import_module(name)\n"

    done = run(installed, tmp_path, "-c", program + "print(somatrace.__file__)")

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_the_commands_of_the_wheel_run(installed, tmp_path):
    (tmp_path / "services" / "orders" / "app").mkdir(parents=True)
    (tmp_path / "services" / "orders" / "app" / "main.py").write_text("import openai\n")

    checked = run(installed, tmp_path, "-m", "somatrace.check", "--no-cache", "--format", "concise")
    smoked = run(installed, tmp_path, "-m", "somatrace", "smoke", "--timeout", "120")

    assert checked.returncode == 1, checked.stderr
    assert "ST" in checked.stdout
    assert smoked.returncode == 0, smoked.stdout + smoked.stderr


SERVE = """
import pathlib, sys, threading, time, urllib.error, urllib.request
from somatrace.local.server import LocalServer

local = LocalServer(pathlib.Path(sys.argv[1]))
thread = threading.Thread(target=local.serve)
thread.start()
while not local.started:
    time.sleep(0.01)
try:
    for path in ("/static/page.css", "/static/page.js", "/"):
        try:
            answer = urllib.request.urlopen(local.url + path, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        print(path, answer.status, answer.headers["content-type"].partition(";")[0], len(answer.read()) > 200)
finally:
    local.stop()
    thread.join()
    local.close()
"""


def test_the_page_of_the_wheel_finds_its_templates_and_static_files(installed, tmp_path):
    done = run(installed, tmp_path, "-c", SERVE, str(tmp_path / "data"))

    assert done.returncode == 0, done.stderr
    style, script, page = done.stdout.splitlines()
    assert style == "/static/page.css 200 text/css True"
    assert script == "/static/page.js 200 text/javascript True"
    assert page == "/ 401 text/html True"
