"""`run` as a command: its output, the arguments it rejects, and its exit."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request

import httpx
import pytest

from somatrace.local.access.keys import FILE, load_keys
from somatrace.local.server import LocalServer, ServeError, run
from tests.support.waiting import HANG

PROGRAM = """
import sys, pathlib
from somatrace.local.server import run
sys.exit(run(pathlib.Path(sys.argv[1]), port=0))
"""


@pytest.fixture
def command(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_it_prints_its_address_and_a_link_that_opens_the_page(command):
    address = command.stdout.readline().split()[-1]
    link = command.stdout.readline().split()[-1]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address)
    assert link.startswith(f"{address}/open#")
    with httpx.Client(base_url=address, timeout=HANG) as client:
        assert (
            client.post("/open", data={"token": link.partition("#")[2]}, follow_redirects=True).status_code
            == 200
        )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_when_interrupted(command, how):
    address = command.stdout.readline().split()[-1]
    with urllib.request.urlopen(f"{address}/api/public/health", timeout=60) as answer:
        assert answer.status == 200
    command.send_signal(how)
    _, errors = command.communicate(timeout=180)
    assert errors == ""
    assert command.returncode in (0, -how)


def test_neither_output_nor_log_contains_a_secret(command, tmp_path):
    address = command.stdout.readline().split()[-1]
    keys = load_keys(tmp_path / "data")
    for header in (keys.basic(), f"Bearer {keys.secret_key}", "Basic x"):
        httpx.post(f"{address}/v1/traces", content=b"\xff", headers={"Authorization": header}, timeout=HANG)
    httpx.get(f"{address}/trace/x?token={keys.secret_key}", timeout=HANG)
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=180)
    for secret in (keys.secret_key, keys.page_secret, keys.public_key):
        assert secret not in output + errors


def test_a_port_in_use_is_one_line_and_exit_code_2(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(tmp_path, port=port) == 2
    assert re.fullmatch(
        rf"somatrace local: cannot listen on 127\.0\.0\.1:{port} \(.*\): choose another port with --port\n",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_non_loopback_hosts_are_rejected_without_the_flag(tmp_path, host, capsys):
    assert run(tmp_path, host=host, port=0) == 2
    assert "is not a loopback address" in capsys.readouterr().err


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_invalid_port_is_rejected(tmp_path, port):
    with pytest.raises(ServeError, match="is not a valid port"):
        LocalServer(tmp_path, port=port)


def test_with_the_flag_another_host_is_served_under_its_name(start_server, tmp_path):
    running = start_server(tmp_path / "data", host="0.0.0.0", allow_remote=True)
    port = running.url.rpartition(":")[2]
    answer = running.client.get(
        f"http://127.0.0.1:{port}/api/public/health", headers={"Host": "somatrace:4318"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("spoil", ["file", "keys", "database"])
def test_a_data_directory_that_cannot_be_used_is_one_line_and_exit_code_2(tmp_path, capsys, spoil):
    data = tmp_path / "data"
    if spoil == "file":
        data.write_text("")
    else:
        data.mkdir()
        (data / (FILE if spoil == "keys" else "local.db")).symlink_to(tmp_path / "elsewhere")
    assert run(data, port=0) == 2
    error = capsys.readouterr().err
    assert error.startswith("somatrace local: the data directory")
    assert error.count("\n") == 1


def test_a_store_that_fails_while_serving_is_503_and_reported_on_the_page(server, export):
    with server.browser() as browser:
        server.data_dir.rename(server.data_dir.with_name("moved"))
        request = export()
        request.span()
        answer = server.post(request.bytes())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert server.get("/api/public/v2/observations").status_code == 503
        assert server.get("/api/public/health", failIfDatabaseUnavailable="true").status_code == 503
        page = browser.get("/")
        assert (page.status_code, "cannot be read" in page.text) == (503, True)
        server.data_dir.with_name("moved").rename(server.data_dir)
        server.send(request)
