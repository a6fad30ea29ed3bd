"""Tracing reports of processes: written by real processes, shown on the services page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.local.process_report import TenantReport, most_important
from somatrace.local.queries import services
from somatrace.local.store.process_reports import ProcessReport
from somatrace.local.store.store import Store
from tests.support.local_server import NOW, Export
from tests.support.waiting import wait_until

SERVICE = """
import json, os, sys
from opentelemetry import trace
import somatrace

somatrace.init_tracing("reporter")
tracer = trace.get_tracer(__name__)
for number in range(int(sys.argv[1])):
    with somatrace.bind(tenant_id=f"tenant-{number}"), tracer.start_as_current_span(f"work {number}"):
        pass
if "fork" in sys.argv and not os.fork():
    with tracer.start_as_current_span("in the child"):
        pass
    somatrace.shutdown(60)
    os._exit(0)
if "fork" in sys.argv:
    os.wait()
somatrace.shutdown(60)
"""


def run(data_dir: Path, spans: int, *words: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, str(spans), *words],
        env={**os.environ, "SOMATRACE_DATA_DIR": str(data_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr


def reports_in(data_dir: Path) -> list[dict]:
    with closing(FreshStore(data_dir)) as store:
        rows = store.read(
            lambda connection: connection.execute("SELECT service, report FROM reports").fetchall()
        )
    return [{"service": service, **json.loads(report)} for service, report in rows]


def test_a_process_reports_delivered_spans_when_it_exits(tmp_path):
    run(tmp_path, 3)

    (report,) = reports_in(tmp_path)

    assert (report["service"], report["created"], report["delivered"], report["queued"]) == (
        "reporter",
        3,
        3,
        0,
    )
    assert report["lost"] == {}
    assert report["instruments"]
    assert report["tenants"] == {f"tenant-{number}": [0, 1, {}] for number in range(3)}


def test_a_report_counts_tenants_beyond_a_limit_together(tmp_path):
    run(tmp_path, 60)

    (report,) = reports_in(tmp_path)

    tenants = report["tenants"]
    assert len(tenants) == 51
    assert tenants["others"] == [0, 10, {}]
    assert sum(delivered for _, delivered, _ in tenants.values()) == 60


def test_tenants_that_have_lost_spans_are_counted_by_themselves_first():
    tenants = {
        "large": TenantReport(delivered=90),
        "small": TenantReport(delivered=1),
        "slow": TenantReport(waiting=2, delivered=3),
        "unlucky": TenantReport(delivered=2, lost={"disk": 1}),
        "others": TenantReport(5, 50, {"disk": 1}),
    }

    found = most_important(tenants, 2)

    assert found == {
        "unlucky": tenants["unlucky"],
        "slow": tenants["slow"],
        "others": TenantReport(5, 141, {"disk": 1}),
    }


def test_a_process_reports_lost_spans_by_reason(tmp_path):
    run(tmp_path, 400, SOMATRACE_QUEUE_SIZE="10")

    (report,) = reports_in(tmp_path)

    assert report["lost"]["queue_full"] == 400 - report["delivered"] > 0


def test_a_process_reports_problems_with_its_settings(tmp_path):
    run(tmp_path, 1, SOMATRACE_QUEUE_SIZE="many")

    (report,) = reports_in(tmp_path)

    assert "SOMATRACE_QUEUE_SIZE" in " ".join(report["problems"])


def test_a_forked_child_reports_separately(tmp_path):
    run(tmp_path, 2, "fork")

    assert sorted(report["delivered"] for report in reports_in(tmp_path)) == [1, 2]


def test_a_running_process_reports_periodically(tmp_path):
    program = SERVICE.rpartition("somatrace.shutdown(60)")[0] + "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "2"],
        env={**os.environ, "SOMATRACE_DATA_DIR": str(tmp_path)},
        stdin=subprocess.PIPE,
    ):
        wait_until(lambda: reports_in(tmp_path))

        assert reports_in(tmp_path)[0]["delivered"] == 2


def test_other_targets_get_spans_and_nothing_else(server, tmp_path):
    run(
        tmp_path / "own",
        2,
        LANGFUSE_HOST=server.url,
        LANGFUSE_PUBLIC_KEY=server.keys.public_key,
        LANGFUSE_SECRET_KEY=server.keys.secret_key,
    )

    assert reports_in(server.data_dir) == []
    assert {found.name for found in server.api.observations.get_many().data} == {"work 0", "work 1"}
    assert [path.name for path in (tmp_path / "own").rglob("*") if path.is_file()] == []


def test_a_service_sums_the_reports_of_its_processes(store):
    store.report(
        "orders", "a", ProcessReport(10, 8, 1, {"queue_full": 1}, {"openai": "on", "redis": "on"}, ("x",))
    )
    store.report(
        "orders",
        "b",
        ProcessReport(
            5, 4, 0, {"queue_full": 1, "not_sampled": 7}, {"openai": "failed (ImportError)"}, ("x", "y")
        ),
    )
    store.report(
        "orders", "b", ProcessReport(6, 4, 1, {"queue_full": 2}, {"openai": "failed (ImportError)"}, ("y",))
    )

    (service,) = store.read(lambda connection: services.read(connection, NOW))

    assert (service.name, service.processes, service.queued) == ("orders", 2, 2)
    assert service.lost == [("queue_full", 3)]
    assert service.instrumented == ["redis"]
    assert service.uncovered == [("openai", "failed (ImportError)")]
    assert sorted(service.problems) == ["x", "y"]


def test_spans_dropped_on_purpose_are_not_counted_as_lost(store):
    store.report("orders", "a", ProcessReport(lost={"not_sampled": 9, "exit": 1}))

    (service,) = store.read(lambda connection: services.read(connection, NOW))

    assert (service.lost, service.left_out) == ([("exit", 1)], [("not_sampled", 9)])


def test_reports_have_a_bounded_size(store):
    huge = ProcessReport(
        instruments={f"library {n}": "x" * 10_000 for n in range(1000)},
        problems=("y" * 9000,) * 90,
        tenants={
            f"{n}{'z' * 9000}": TenantReport(lost={f"reason {r}": 1 for r in range(90)}) for n in range(999)
        },
    )
    store.report("s" * 9000, "p" * 9000, huge)

    size = store.read(
        lambda connection: connection.execute(
            "SELECT length(service) + length(process) + length(report) FROM reports"
        ).fetchone()[0]
    )
    assert size < 150_000


def test_the_services_page_shows_queued_and_lost_spans_and_traced_libraries(server):
    export = Export()
    export.span()
    server.send(export)
    with closing(Store(server.data_dir)) as beside:
        beside.report(
            "orders",
            "a",
            ProcessReport(
                9, 5, 3, {"queue_full": 1}, {"openai": "on", "redis": "off: <b>no</b>"}, ("SOMATRACE_X: bad",)
            ),
        )

    with server.browser() as browser:
        page = browser.get("/services").text

    for expected in (
        "orders",
        "✕ 1 queue full",
        "1 of 2",
        "redis: off: &lt;b&gt;no&lt;/b&gt;",
        "SOMATRACE_X: bad",
    ):
        assert expected in page


def test_the_services_page_shows_what_became_of_each_tenants_spans(server):
    export = Export()
    export.span()
    server.send(export)
    tenants = {"<b>acme</b>": TenantReport(4, 8, {"disk": 2, "not_sampled": 3}), "quiet": TenantReport(0, 7)}
    with closing(Store(server.data_dir)) as beside:
        beside.report("orders", "a", ProcessReport(tenants=tenants))
        beside.report("orders", "b", ProcessReport(tenants={"quiet": TenantReport(1, 1)}))

    with server.browser() as browser:
        page = browser.get("/services").text

    rows = re.findall(r"<tr>\n(<td data-label=\"Tenant\".*?)</tr>", page, re.DOTALL)
    shown = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in rows]
    assert shown == [
        ["&lt;b&gt;acme&lt;/b&gt;", "orders", "4", "8", "✕", "2", "disk", "3", "not", "sampled"],
        ["quiet", "orders", "1", "8", "0"],
    ]


def test_the_services_page_lists_a_bounded_number_of_tenants(server):
    export = Export()
    export.span()
    server.send(export)
    with closing(Store(server.data_dir)) as beside:
        for number in range(2):
            tenants = {f"tenant-{n}": TenantReport(delivered=n) for n in range(40)}
            beside.report(f"orders-{number}", "a", ProcessReport(tenants=tenants))

    with server.browser() as browser:
        page = browser.get("/services").text

    assert page.count('data-label="Tenant"') == 50
    assert "The first 50 of 80" in page


def test_the_services_page_labels_failures_as_spans(server):
    export = Export()
    root = export.span(failed="no")
    export.span(parent=root, failed="no")
    server.send(export)

    with server.browser() as browser:
        page = browser.get("/services").text

    assert ">Failed spans</th>" in page
    # the label of a card on narrow screens
    assert re.search(r'<td data-label="Failed spans"[^>]*><a [^>]*>✕ 2</a>', page)
