"""The command `python -m services.demo`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services.demo import report, workload
from services.demo.processes import Processes
from services.demo.stack import SERVICES, start_ingester
from somatrace.local.queries import overview
from somatrace.local.queries.overview import OverviewScope
from somatrace.local.store.store import Store
from tests.support.waiting import wait_until


def demo(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "services.demo", *map(str, arguments)]


def children_of(data: Path) -> list[int]:
    """Processes whose standard output is a log in the demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and (entry / "fd" / "1").readlink().is_relative_to(data):
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    data = tmp_path_factory.mktemp("demo") / "data"
    done = subprocess.run(
        demo("--workflows", 12, "--data-dir", data),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=115,
    )
    return done, data


@pytest.mark.slow
def test_it_prints_a_table_and_exits_with_0_when_the_store_matches(finished):
    done, _ = finished

    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent: 12 workflows of 3 tenants; the store holds exactly that" in done.stdout
    for tenant in ("acme", "globex", "initech"):
        assert re.search(rf"{tenant}\W+\d", done.stdout)
    assert "12 of 12 workflows" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_it_leaves_no_process_behind_and_prints_no_key(finished):
    done, data = finished

    assert children_of(data) == []
    assert "sk-" not in done.stdout
    assert not (data / "ingester.json").exists()


@pytest.mark.slow
def test_the_table_and_the_page_agree_over_the_same_store(finished, tmp_path):
    _, data = finished
    with Processes(tmp_path) as processes:
        ingester = start_ingester(processes, data)
        found = report.rows(report.read_back(ingester.url, ingester.public_key, ingester.secret_key))
    store = Store(data)

    for row in found:
        scope = OverviewScope(0, 2**31, tenant=row.tenant)
        sums = store.read(lambda connection, scope=scope: overview.read(connection, scope)).whole.sums
        shown = (
            sums["traces"], sums["failed"], sums["recovered"],
            sums["calls"], sums["input_tokens"], sums["output_tokens"], round(sums["cost"], 9),
        )  # fmt: skip
        counted = (
            row.workflows, row.errors, row.recovered,
            row.llm_calls, row.input_tokens, row.output_tokens, round(row.cost, 9),
        )  # fmt: skip
        assert counted == shown, row.tenant
        # what the price file says, to the millionth of a cent
        assert row.cost == pytest.approx((row.input_tokens * 0.15 + row.output_tokens * 0.6) / 1e6, abs=1e-8)
    assert {row.tenant for row in found} == {"acme", "globex", "initech", "platform"}


@pytest.mark.slow
def test_deleting_a_stored_span_changes_the_table(finished, tmp_path):
    _, data = finished
    with Processes(tmp_path) as processes:
        ingester = start_ingester(processes, data)
        keys = (ingester.url, ingester.public_key, ingester.secret_key)
        before = report.rows(report.read_back(*keys))
        with contextlib.closing(sqlite3.connect(data / "local.db", timeout=60)) as store, store:
            victim = store.execute("SELECT rowid FROM spans WHERE type = 'GENERATION' LIMIT 1").fetchone()
            store.execute("DELETE FROM spans WHERE rowid = ?", victim)
        after = report.rows(report.read_back(*keys))

    assert sum(row.llm_calls for row in after) == sum(row.llm_calls for row in before) - 1


@pytest.mark.slow
def test_every_span_of_a_workflow_has_its_tenant(finished, tmp_path):
    _, data = finished
    with Processes(tmp_path) as processes:
        ingester = start_ingester(processes, data)
        observations = report.read_back(ingester.url, ingester.public_key, ingester.secret_key)

    tenants: dict[str, set[str]] = {}
    for each in observations:
        tenants.setdefault(each["traceId"], set()).add(str(each["metadata"].get("tenant_id")))
    assert all(len(of_trace) == 1 for of_trace in tenants.values())
    assert set.union(*tenants.values()) == {"acme", "globex", "initech", "platform"}


@pytest.mark.slow
def test_one_workflow_is_one_trace_through_all_services(finished, tmp_path):
    _, data = finished
    with Processes(tmp_path) as processes:
        ingester = start_ingester(processes, data)
        observations = report.read_back(ingester.url, ingester.public_key, ingester.secret_key)

    services: dict[str, set[str]] = {}
    for each in observations:
        services.setdefault(each["traceId"], set()).add(each["metadata"]["resourceAttributes.service.name"])
    answered = [
        trace["traceId"] for trace in observations if trace["type"] == "CHAIN" and trace["level"] != "ERROR"
    ]
    whole = [trace for trace in answered if services[trace] == set(SERVICES)]
    assert len(whole) == sum(question.status == 200 for _, question in workload.plan(12))


@pytest.mark.slow
def test_each_service_reports_its_version(finished):
    _, data = finished
    with contextlib.closing(sqlite3.connect(data / "local.db")) as store:
        reported = store.execute("SELECT DISTINCT service, version FROM arrivals").fetchall()
    assert dict(reported) == SERVICES
    assert len(reported) == len(SERVICES)


@pytest.mark.slow
def test_the_store_contains_neither_questions_nor_answers(finished):
    _, data = finished
    stored = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())

    assert b"order-status" in stored
    assert not [question.text for _, question in workload.plan(12) if question.text.encode() in stored]
    assert b"grinder is blocked" not in stored


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 3, 6])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_it_stops_every_child(root, tmp_path, number, least):
    data = tmp_path / "data"
    process = subprocess.Popen(
        demo("--data-dir", data), cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(children_of(data)) >= least)

    process.send_signal(number)
    _, errors = process.communicate(timeout=180)

    assert process.returncode == 128 + number
    assert "Traceback" not in errors
    assert children_of(data) == []


@pytest.mark.slow
@pytest.mark.parametrize("key", [b"\n", b"\x04"], ids=["enter", "end of input"])
def test_on_a_terminal_the_page_stays_up_until_a_key_is_pressed(root, tmp_path, key):
    terminal, theirs = os.openpty()
    process = subprocess.Popen(
        demo("--workflows", 3, "--data-dir", tmp_path / "data"),
        cwd=root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        shown = b""
        while b"Enter ends the demo." not in shown:
            shown += os.read(terminal, 65_536)
        page = re.search(rb"or now:\s+(http://[0-9.:]+/open#)", shown)
        kept = httpx.get(page[1].decode(), timeout=60)
        os.write(terminal, key)

        assert process.wait(60) == 0
        assert kept.status_code == 200
        assert children_of(tmp_path) == []
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_a_directory_it_did_not_create_is_left_alone(root, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")

    done = subprocess.run(
        demo("--data-dir", tmp_path), cwd=root, capture_output=True, text=True, check=False, timeout=180
    )

    assert done.returncode == 2
    assert "--data-dir" in done.stdout
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("number", ["0", "-3", "many", "10001"])
def test_an_invalid_number_of_workflows_is_rejected(root, number):
    done = subprocess.run(
        demo(f"--workflows={number}"), cwd=root, capture_output=True, text=True, check=False, timeout=180
    )

    assert done.returncode == 2
    assert "is not a number from 1 to 10000" in done.stderr
