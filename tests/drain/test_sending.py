"""`somatrace drain` sends what waits to the target it was written for, whatever happens to it meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from somatrace.config import Target
from somatrace.delivery.factory import owner_of
from somatrace.delivery.journal import Journal
from tests.delivery.support import batch
from tests.drain.waiting import COMMAND, UNAVAILABLE, Run, counted, leave, tree
from tests.support.otlp_server import OtlpServer, Reply
from tests.support.programs import run_program
from tests.support.waiting import wait_until

SERVICE = """
import sys
from somatrace import flush, init_tracing, span, status

init_tracing({service!r})
for number in range({spans}):
    with span(f"{service} {{number}}", kind="workflow", tenant_id="acme"):
        pass
flush(0.2)
"""


def test_spans_of_services_that_have_ended_are_sent_once(
    server: OtlpServer, data: Path, env: dict[str, str], drain: Run
) -> None:
    server.reply = lambda _: UNAVAILABLE
    for service in ("orders", "billing"):
        run_program(SERVICE.format(service=service, spans=25), env)
    server.reply = lambda _: Reply()

    done = drain()

    names = [f"{service} {number}" for service in ("orders", "billing") for number in range(25)]
    assert counted(server) == dict.fromkeys(names, 1)
    assert {span.resource["service.name"] for span in server.spans} == {"orders", "billing"}
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == [
        f"billing: 25 spans sent to otlp {server.traces_url}",
        "drain: 50 spans sent, 0 left",
        f"orders: 25 spans sent to otlp {server.traces_url}",
    ]
    assert tree(data) == {}


def test_a_second_run_finds_nothing(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one")

    drain()
    again = drain()

    assert counted(server) == {"one": 1}
    assert (again.returncode, again.stdout) == (0, f"drain: nothing waits in {data}\n")


def test_spans_for_another_target_are_sent_there_only_or_on_request(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, "for this one")
    leave(data, "http://old.internal:4318", "for the old one")

    usual = drain()
    arrived = counted(server)
    retargeted = drain("--retarget")

    assert arrived == {"for this one": 1}
    assert usual.returncode == 1
    assert "orders: 1 span left: for otlp http://old.internal:4318/v1/traces; --retarget" in usual.stdout
    assert retargeted.returncode == 0
    assert counted(server) == {"for this one": 1, "for the old one": 1}


def test_a_segment_that_was_moved_to_another_targets_directory_is_not_sent_there(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    here = leave(data, server.url, "for this one")
    moved = leave(data, "http://old.internal:4318", "for the old one")
    moved.rename(here.parent / moved.name)

    done = drain()

    assert done.returncode == 1
    assert counted(server) == {"for this one": 1}
    assert f"{moved.name}: it is not in the directory of its service and target" in done.stdout
    assert drain("--retarget").returncode == 0
    assert counted(server) == {"for this one": 1, "for the old one": 1}


@pytest.mark.parametrize(
    ("reply", "why"),
    [(Reply(503), "503"), (Reply(503, headers={"Retry-After": "200"}), "503")],
    ids=["unavailable", "asks for patience"],
)
def test_a_target_that_does_not_recover_in_time_leaves_everything(
    server: OtlpServer, data: Path, drain: Run, reply: Reply, why: str
) -> None:
    leave(data, server.url, "one", "two")
    before = tree(data)
    server.reply = lambda _: reply

    done = drain("--timeout", "1.5")

    assert done.returncode == 1
    assert "orders: 2 spans left: the target does not accept spans (" in done.stdout
    assert why in done.stdout
    assert tree(data) == before


def test_a_target_that_recovers_gets_the_spans(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one", "two")
    server.reply = lambda number: UNAVAILABLE if number < 3 else Reply()

    done = drain()

    assert done.returncode == 0
    assert counted(server) == {"one": 1, "two": 1}


def test_wrong_keys_end_the_command_at_once(server: OtlpServer, data: Path, drain: Run) -> None:
    for service in ("orders", "billing"):
        leave(data, server.url, "one", service=service)
    server.reply = lambda _: Reply(401)

    done = drain("--timeout", "3600")

    assert done.returncode == 1
    assert server.requests == 1
    assert "orders: 1 span left: the target does not accept spans (" in done.stdout
    assert "billing: 1 span left: the target does not accept spans (" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--retarget",)])
def test_halves_of_a_rejected_batch_wait_for_their_own_target(
    server: OtlpServer, data: Path, drain: Run, arguments: tuple[str, ...]
) -> None:
    url = "http://old.internal:4318" if arguments else server.url
    names = ["one", "two", "three", "four", "five"]
    leave(data, url, *names)
    server.reply = lambda number: Reply(400) if number < 2 else UNAVAILABLE

    away = drain("--timeout", "1.5", *arguments)
    listed = drain("--dry-run")
    server.reply = lambda _: Reply()
    back = drain(*arguments)

    assert away.returncode == 1
    assert "orders: 5 spans left: the target does not accept spans (" in away.stdout
    assert len(listed.stdout.splitlines()) == 2
    assert f"otlp {url}/v1/traces" in listed.stdout
    assert back.returncode == 0, back.stdout
    assert counted(server) == dict.fromkeys(names, 1)
    assert tree(data) == {}


def test_nothing_is_missing_after_a_kill_in_the_middle(
    server: OtlpServer, data: Path, env: dict[str, str], drain: Run
) -> None:
    names = [f"span {number}" for number in range(300)]
    leave(data, server.url, *names)
    server.reply = lambda number: Reply(delay=0.02)
    process = subprocess.Popen([*COMMAND], env=env, stdout=subprocess.DEVNULL)
    wait_until(lambda: server.requests >= 5)
    process.kill()
    process.wait()
    at_the_kill = server.requests

    done = drain()

    twice = {name for name, times in counted(server).items() if times > 1}
    assert done.returncode == 0
    assert at_the_kill < 30
    assert set(counted(server)) == set(names)
    assert len(twice) <= 10  # the batch in flight


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_rest_to_the_next_run(
    server: OtlpServer, data: Path, env: dict[str, str], drain: Run, sent: signal.Signals
) -> None:
    names = [f"span {number}" for number in range(300)]
    leave(data, server.url, *names)
    server.reply = lambda number: Reply(delay=0.02 if number < 5 else 2.0)
    before = signal.signal(sent, signal.SIG_DFL)  # where these tests run in the background, it is ignored
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*COMMAND], env=env, **pipes)
    signal.signal(sent, before)
    wait_until(lambda: server.requests >= 5)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=180)
    server.reply = lambda number: Reply()

    done = drain()

    assert (process.returncode, errors) == (128 + sent, "")
    assert done.returncode == 0
    assert set(counted(server)) == set(names)


def test_several_at_once_send_everything_once(
    server: OtlpServer, data: Path, env: dict[str, str], drain: Run
) -> None:
    names = [f"span {number}" for number in range(200)]
    for start in range(0, 200, 20):
        leave(data, server.url, *names[start : start + 20])

    processes = [subprocess.Popen([*COMMAND], env=env, stdout=subprocess.DEVNULL) for _ in range(3)]
    codes = [process.wait(180) for process in processes]
    last = drain()

    assert set(codes) <= {0, 1}
    assert last.returncode == 0
    assert counted(server) == dict.fromkeys(names, 1)


def test_what_waits_is_sent_with_the_spool_of_the_command_off(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, "one")

    done = drain(SOMATRACE_SPOOL_MAX_BYTES="0")

    assert done.returncode == 0
    assert counted(server) == {"one": 1}


def test_the_directory_of_the_option_wins(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one")

    done = drain("--data-dir", str(data), SOMATRACE_DATA_DIR="/no/such/directory")

    assert done.returncode == 0
    assert counted(server) == {"one": 1}


def test_settings_come_from_the_env_file(
    server: OtlpServer, data: Path, tmp_path: Path, drain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(data, server.url, "one")
    file = tmp_path / "settings.env"
    file.write_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={server.url}\nSOMATRACE_DATA_DIR={data}\n")

    done = drain("--env-file", str(file), OTEL_EXPORTER_OTLP_ENDPOINT="", SOMATRACE_DATA_DIR="")

    assert done.returncode == 0, done.stderr
    assert counted(server) == {"one": 1}


RUNNING = """
import pathlib, sys, time
from somatrace import flush, init_tracing, span, status

def work(name):
    with span(name, kind="workflow", tenant_id="acme"):
        pass

def wait_for(path):
    while not pathlib.Path(path).exists():
        time.sleep(0.01)

init_tracing("orders")
here = pathlib.Path(sys.argv[1])
work("first")
while not status().on_disk:
    time.sleep(0.01)
(here / "waits").touch()
wait_for(here / "available")
assert flush(60)
work("second")
assert flush(60)
assert status().problems == (), status().problems
assert sum(status().lost.values()) == 0, status().lost
"""


def test_a_running_service_keeps_its_spans_and_sends_them_itself(
    server: OtlpServer, data: Path, tmp_path: Path, env: dict[str, str], drain: Run
) -> None:
    leave(data, server.url, "of another service", service="billing")
    program = tmp_path / "service.py"
    program.write_text(RUNNING)
    server.reply = lambda number: Reply() if b"of another" in server.raw[number] else UNAVAILABLE
    service = subprocess.Popen(
        [COMMAND[0], str(program), str(tmp_path)], env=env, stderr=subprocess.PIPE, text=True
    )
    wait_until((tmp_path / "waits").exists)

    beside = drain()
    listed = drain("--dry-run")
    arrived = counted(server)
    server.reply = lambda _: Reply()
    (tmp_path / "available").touch()
    _, errors = service.communicate(timeout=180)
    after = drain()

    assert beside.returncode == 1
    assert arrived == {"of another service": 1}
    assert "orders: 1 span left: a running process holds them" in beside.stdout
    assert listed.stdout.splitlines()[-1].endswith("in use")
    assert service.returncode == 0, errors
    assert after.returncode == 0
    assert counted(server) == {"of another service": 1, "first": 1, "second": 1}


def test_a_service_with_nothing_to_send_keeps_its_files_and_leaves_nothing(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    owner = owner_of("orders", Target("otlp", server.traces_url))
    journal = Journal(lambda: data, owner, max_bytes=1 << 26, max_days=7.0)
    entry = journal.add(batch("answered"), 1)
    assert entry is not None
    journal.done([entry])
    before = tree(data)

    done = drain()
    after = tree(data)
    later = journal.add(batch("later"), 1)

    assert (done.returncode, done.stdout) == (0, f"drain: nothing waits in {data}\n")
    assert after == before
    assert later is not None
    assert entry.segment is later.segment


def test_a_terminal_shows_progress_and_a_pipe_does_not(
    server: OtlpServer, data: Path, env: dict[str, str], drain: Run
) -> None:
    leave(data, server.url, "one", service="[red]orders")
    master, terminal = os.openpty()
    try:
        process = subprocess.Popen([*COMMAND], env=env, stdout=subprocess.PIPE, stderr=terminal)
        printed, _ = process.communicate(timeout=180)
        shown = os.read(master, 65536)
    finally:
        os.close(master)
        os.close(terminal)
    leave(data, server.url, "two")

    piped = drain()

    assert process.returncode == 0
    assert b"1/1" in shown
    assert b"[red]orders: 1 span sent" in printed
    assert piped.stderr == ""
