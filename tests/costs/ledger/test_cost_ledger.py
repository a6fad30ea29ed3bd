"""The ledger has every call once: as a report over the spans has it, sampled or not, over kills."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path

import pytest

from somatrace import Config
from somatrace.costs import cost_report
from tests.faults.disks import CannotMountError, small_disk
from tests.support.otlp_server import otlp_server
from tests.support.programs import otlp_env, run_program
from tests.support.waiting import HANG, wait_until

PAGE = Path(__file__).parents[3] / "docs" / "costs.md"
CALL = """
import os, sys, threading, time
from somatrace import *

init_tracing(os.environ.get("SERVICE", "svc"))

def call(model="gpt-4o-mini", provider="openai", kind="llm", fails=False, given={}, **counts):
    try:
        with span("ask", kind=kind) as made:
            if model:
                made.set_attribute("gen_ai.request.model", model)
            made.set_attribute("gen_ai.provider.name", provider)
            for key, value in given.items():
                made.set_attribute(key, value)
            if counts:
                usage(**counts)
            if fails:
                raise ValueError
    except ValueError:
        pass
"""
#: Every kind of call that reports tell apart.
CALLS = """
with bind(tenant_id="acme", workflow_name="pay", agent_id="a1"):
    for number in range(1, 6):
        call(input_tokens=1000 * number, output_tokens=100, cache_read_tokens=400)
    call("nobody-knows", input_tokens=10, output_tokens=1)
    call(fails=True)
    call(fails=True, input_tokens=3)
    call()
    call(None, input_tokens=5)
    call("text-embedding-3-small", kind="embedding", input_tokens=1000)
    call("own", given={"gen_ai.usage.cost.amount": 1.25, "gen_ai.usage.cost.currency": "EUR"}, input_tokens=7)
with span("wf", kind="workflow", tenant_id="globex"):
    with span("helper", kind="agent"):
        call(input_tokens=7, output_tokens=9)
        usage(input_tokens=700, output_tokens=90)
    with span("framework", kind="llm"):
        usage(input_tokens=7, output_tokens=9)
        call(input_tokens=7, output_tokens=9)
    with span("tool", kind="tool"):
        pass
"""
END = """
assert flush(60), status()
"""


def program(*parts: str) -> str:
    return "\n".join(textwrap.dedent(part) for part in (CALL, *parts))


def ledger_env(data, **more):
    return {"SOMATRACE_DATA_DIR": str(data), "SOMATRACE_COST_LEDGER": "true", **more}


def ledger_report(data, by="tenant"):
    return cost_report(by, "1d", source="ledger", config=Config(data_dir=str(data)))


def figures(report):
    """The rows and the total of a report, without latencies and workflows, which a ledger does not have."""
    absent = dict.fromkeys(("p50", "p95", "p99", "workflows", "cost_per_workflow"))
    return [dataclasses.replace(row, **absent) for row in (*report.rows, report.total)]


@pytest.mark.parametrize(
    "by", ["tenant", "workflow,agent", "model,provider", "service,day", "tenant,workflow,agent,model"]
)
def test_the_ledger_has_the_figures_of_a_report_over_the_spans(tmp_path_factory, by, calls_data):
    spans = cost_report(by, "1d", source="local", config=Config(data_dir=str(calls_data)))

    ledger = ledger_report(calls_data, by)

    assert figures(ledger) == figures(spans)
    assert ledger.unpriced == spans.unpriced
    assert ledger.total.calls == 14
    assert ledger.total.other_costs == {"EUR": Decimal("1.25")}
    assert ledger.exit_code == 0


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Marquesas", "Asia/Kathmandu"])
def test_the_ledger_has_the_days_of_every_zone(zone, calls_data):
    config = Config(data_dir=str(calls_data))
    spans = cost_report("day", "1d", source="local", zone=zone, config=config)

    ledger = cost_report("day", "1d", source="ledger", zone=zone, config=config)

    assert figures(ledger) == figures(spans)
    assert ledger.zone == zone


@pytest.fixture(scope="module")
def calls_data(tmp_path_factory):
    """A data directory with the calls in the local store and in the ledger."""
    data = tmp_path_factory.mktemp("calls")
    run_program(program(CALLS, END), ledger_env(data, SOMATRACE_TARGET="local"))
    return data


def test_the_command_of_the_page_prints_the_ledger(calls_data):
    [command] = re.findall(r"`somatrace (costs --source ledger [^`]*)`", PAGE.read_text())
    env = {**os.environ, "SOMATRACE_DATA_DIR": str(calls_data)}

    done = subprocess.run(
        [sys.executable, "-m", "somatrace", *command.split()],
        env=env, capture_output=True, text=True, timeout=HANG, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert f"read from ledger, {calls_data}" in done.stdout


@pytest.mark.parametrize(
    "sampling",
    [
        {"SOMATRACE_SAMPLE_RATE": "0"},
        {"SOMATRACE_SAMPLE_RULES": "tenant=acme:off,tenant=globex:off"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"SOMATRACE_TARGET": "none"},
    ],
)
def test_calls_that_are_not_sent_are_in_the_ledger(tmp_path, sampling, calls_data):
    with otlp_server() as server:
        run_program(program(CALLS, "flush(60)"), otlp_env(server.url, **ledger_env(tmp_path), **sampling))

        assert [span.name for span in server.spans if span.name == "ask"] == []
    assert figures(ledger_report(tmp_path)) == figures(ledger_report(calls_data))


def test_without_the_setting_nothing_is_kept(tmp_path):
    with otlp_server() as server:
        run_program(program(CALLS, END), otlp_env(server.url, SOMATRACE_DATA_DIR=str(tmp_path)))

    report = ledger_report(tmp_path)

    assert (report.source, report.total) == ("unavailable", None)
    assert "SOMATRACE_COST_LEDGER=true" in report.reason
    assert not (tmp_path / "costs").exists()


def test_processes_threads_and_forks_add_up(tmp_path):
    work = """
    def some():
        for _ in range(25):
            call(input_tokens=1, output_tokens=2)
    with bind(tenant_id="acme"):
        some()
        threads = [threading.Thread(target=some) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert flush(60)
        children = []
        for _ in range(2):
            pid = os.fork()
            if not pid:
                some()
                flush(60)
                os._exit(0)
            children.append(pid)
        some()
        for pid in children: os.waitpid(pid, 0)
    """
    env = ledger_env(tmp_path, SOMATRACE_TARGET="none")

    run_program(program(work, "flush(60)"), env)
    run_program(program(work, "flush(60)"), env)

    [row] = ledger_report(tmp_path).rows
    calls = 2 * (25 * 4 + 2 * 25 + 25)
    assert (row.calls, row.input_tokens, row.output_tokens) == (calls, calls, 2 * calls)


def test_tags_that_the_user_has_chosen_are_dimensions(tmp_path):
    work = """
    with bind(brand="north", job_type=7, other="x"):
        call(input_tokens=1)
    with span("job", brand="south"):
        call(input_tokens=2)
    call(input_tokens=3)
    """
    env = ledger_env(tmp_path, SOMATRACE_TARGET="none", SOMATRACE_COST_TAGS="brand,job_type")

    run_program(program(work, "flush(60)"), env)

    report = ledger_report(tmp_path, "brand,job_type")
    assert {row.labels: row.input_tokens for row in report.rows} == {
        ("north", "7"): 1,
        ("south", ""): 2,
        ("", ""): 3,
    }
    [file] = (tmp_path / "costs" / "spool").iterdir()
    assert b"other" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_calls_that_were_written_before_kill_9_count_once(tmp_path, attempt):
    work = """
    for number in range(1, 1_000_000):
        call(input_tokens=number)
        time.sleep(0.001)
    """
    env = ledger_env(tmp_path, SOMATRACE_TARGET="none")
    with subprocess.Popen([sys.executable, "-c", program(work)], env={**os.environ, **env}) as process:
        try:
            written = wait_until(
                lambda: (total := ledger_report(tmp_path).total) and total.calls > 100 and total
            )
            time.sleep(random.uniform(0, 0.4))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(HANG)
    run_program(program("call(input_tokens=1)", "flush(60)"), env)

    total = ledger_report(tmp_path).total
    calls = total.calls - 1  # that of the second process
    assert calls >= written.calls
    # the tokens are those of the first calls, each once
    assert total.input_tokens - 1 == calls * (calls + 1) // 2


@pytest.mark.slow
def test_what_finds_no_room_waits_and_is_written_once_there_is_some(tmp_path):
    work = """
    filler = os.path.join(os.environ["SOMATRACE_DATA_DIR"], "filler")
    with open(filler, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096): pass
        except OSError: pass
    call(input_tokens=1)
    deadline = time.monotonic() + 60
    while not any("cost ledger" in one for one in status().problems):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(9):
        call(input_tokens=1)
    os.unlink(filler)
    while any("cost ledger" in one for one in status().problems):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    """
    try:
        with small_disk(tmp_path / "disk", 256) as disk:
            done = run_program(program(work, "flush(60)"), ledger_env(disk, SOMATRACE_TARGET="none"))

            assert ledger_report(disk).total.calls == 10
    except CannotMountError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    assert done.stderr.count("cost ledger: No space left on device") == 1


def test_a_ledger_that_cannot_be_written_is_one_line_and_changes_nothing(tmp_path):
    (tmp_path / "costs").write_text("")

    done = run_program(
        program(CALLS, "flush(60)", "print('done')"), ledger_env(tmp_path, SOMATRACE_TARGET="none")
    )

    assert done.stdout == "done\n"
    assert done.stderr.count("cost ledger") == 1
    assert "Traceback" not in done.stderr
