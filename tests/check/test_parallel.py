"""Large trees are checked on every processor, with the same findings on any number of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from somatrace.check import parallel
from somatrace.check.cache import cached
from somatrace.check.checker import check
from somatrace.check.parallel import spread
from somatrace.check.project.file_tree import FileTree
from somatrace.check.settings import CheckSettings

SERVICES = 220
INIT = 'from somatrace import init_tracing\ninit_tracing("{name}")\n'
KINDS = (
    INIT + "from fastapi import FastAPI\napp = FastAPI()\n",
    "from fastapi import FastAPI\napp = FastAPI()\n",
    "import helper\nfrom fastapi import FastAPI\napp = FastAPI()  # noqa: ST001 -- on purpose\n",
    'import uvicorn\nuvicorn.run("main:app", workers=4)\n' + INIT,
    "from langfuse.openai import openai\n" + INIT.replace("{name}", "the same"),
)


@pytest.fixture
def monorepo(tmp_path) -> Path:
    for number in range(SERVICES):
        folder = tmp_path / f"services/service-{number:03}"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(KINDS[number % len(KINDS)].format(name=folder.name))
        (folder / "helper.py").write_text("VALUE = 1\n")
        (folder / "Dockerfile").write_text("FROM python\nWORKDIR /s\nCOPY . .\nCMD uvicorn main:app\n")
    return tmp_path


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")
@pytest.mark.parametrize("processors", [2, 3, 8])
def test_the_report_is_the_same_on_any_number_of_processors(monorepo, monkeypatch, processors):
    monkeypatch.setattr(parallel, "_processors", lambda: 1)
    alone = FileTree(monorepo)
    expected = check(alone, CheckSettings())
    monkeypatch.setattr(parallel, "_processors", lambda: processors)
    shared = FileTree(monorepo)

    found = check(shared, CheckSettings())

    assert found == expected
    assert {"ST001", "ST011", "ST030"} <= {finding.code for finding in found.findings}
    assert dict(shared.consulted()) == dict(alone.consulted())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")
def test_a_change_to_a_file_that_only_a_fork_read_is_noticed(monorepo, monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 4)
    before = cached(monorepo, CheckSettings(), check)
    last = monorepo / f"services/service-{SERVICES - 1:03}/main.py"
    last.write_text("from fastapi import FastAPI\napp = FastAPI()\n")

    after = cached(monorepo, CheckSettings(), check)

    assert after != before
    assert after == check(FileTree(monorepo), CheckSettings())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")
def test_the_parent_does_the_part_of_a_killed_fork(monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 3)
    here = os.getpid()

    def work(items):
        if os.getpid() != here and 7 in items:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(items)

    results = spread(work, range(9), least=3)

    assert results == [([0, 1, 2], False), ([3, 4, 5], True), ([6, 7, 8], False)]


def test_an_exception_in_any_part_is_raised(monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 2)

    def work(items):
        return [1 // item for item in items]

    with pytest.raises(ZeroDivisionError):
        spread(work, [1, 1, 1, 0], least=1)


def test_few_items_are_not_spread(monkeypatch):
    monkeypatch.setattr(parallel, "_processors", lambda: 8)

    assert spread(list, range(9), least=5) == [([*range(9)], False)]


def test_nothing_to_do_is_one_empty_part():
    assert spread(list, [], least=5) == [([], False)]
