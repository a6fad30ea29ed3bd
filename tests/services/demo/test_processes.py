"""The demo's child processes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from services.demo.processes import Processes, StartError, held_ports, wait_for_file, wait_for_port
from tests.support.waiting import wait_until

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
    with held_ports(1) as [port], Processes(tmp_path) as processes:
        child = processes.start("server", python(SERVE, port), env=os.environ)

        wait_for_port(child, port)

        assert child.process.poll() is None
    assert child.process.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a held port cannot be listened on")
def test_no_other_program_is_given_a_held_port():
    with held_ports(4) as ports:
        for _ in range(2000):
            with socket.create_server(("127.0.0.1", 0)) as other:
                assert other.getsockname()[1] not in ports
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", ports[0]))


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

    wait_until(lambda: not alive(inner))
    assert child.process.returncode is not None


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
