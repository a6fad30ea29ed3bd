"""The demo's child processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from services.demo.processes import Processes, StartError, free_ports, wait_for_file, wait_for_port

SERVE = (
    "import http.server,sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), None).serve_forever()"
)


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def alive(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_that_exits_early_raises_an_error_with_the_last_lines_of_its_log(tmp_path):
    with Processes(tmp_path) as processes:
        child = processes.start(
            "broken", python("print('one'); raise SystemExit('no such tank')"), env=os.environ
        )

        with pytest.raises(StartError, match=r"broken exited with code 1(.|\n)*no such tank"):
            wait_for_file(child, tmp_path / "never")


def test_it_waits_until_a_child_listens(tmp_path):
    [port] = free_ports(1)
    with Processes(tmp_path) as processes:
        child = processes.start("server", python(SERVE, port), env=os.environ)

        wait_for_port(child, port)

        assert child.process.poll() is None
    assert child.process.returncode == -signal.SIGTERM


def test_children_and_their_descendants_are_stopped_when_the_block_fails(tmp_path):
    pids = tmp_path / "pid"
    code = (
        "import os, pathlib, subprocess, sys, time\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "path = pathlib.Path(sys.argv[1]); path.with_suffix('.new').write_text(str(inner.pid))\n"
        "path.with_suffix('.new').rename(path); time.sleep(60)"
    )

    with pytest.raises(KeyboardInterrupt), Processes(tmp_path / "logs") as processes:
        child = processes.start("parent", python(code, pids), env=os.environ)
        inner = int(wait_for_file(child, pids))
        raise KeyboardInterrupt

    deadline = time.monotonic() + 10
    while alive(inner) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert child.process.returncode is not None
    assert not alive(inner)


@pytest.mark.slow
def test_a_child_that_ignores_sigterm_is_killed(tmp_path):
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    with Processes(tmp_path / "logs") as processes:
        child = processes.start("stubborn", python(code, ready), env=os.environ)
        wait_for_file(child, ready)

    assert child.process.returncode == -signal.SIGKILL
