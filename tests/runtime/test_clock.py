"""Deadlines hold whatever the program does to the clock."""

from __future__ import annotations

import ast
import datetime as dt
import importlib.util
import time
from contextlib import closing
from pathlib import Path

import pytest

from somatrace.local.ingest.fresh_store import FreshStore
from somatrace.runtime.clock import clock
from tests.support.otlp_server import Reply, otlp_server
from tests.support.programs import otlp_env, run_program
from tests.support.waiting import HANG

#: Parts that run inside the programs of users. Commands and the local server are processes of their own.
TRACED = (
    "api",
    "config",
    "context",
    "delivery",
    "guard",
    "instrumentation",
    "listeners",
    "local/data_dir.py",
    "local/process_report.py",
    "local/store",
    "pipeline",
    "propagation",
    "runtime",
    "spool",
    "testing.py",
    "tracing",
)
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep", "time", "time_ns"}


#: Methods that read such a clock: of dates, of conditions, and of the queues that are written in Python.
READERS = {"LifoQueue", "PriorityQueue", "Queue", "now", "today", "utcnow", "wait_for"}


def direct_uses(source: str) -> list[str]:
    """The expressions of a module that read a clock which the program can replace."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            of_time = text.startswith("time.") and node.attr in CLOCKS
            if of_time or (node.attr in READERS and text != "clock.now"):
                found.append(text)
        elif isinstance(node, ast.Import) and any(one.name == "time" and one.asname for one in node.names):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "queue"):
            names = {one.name for one in node.names}
            if node.module == "time" or names & READERS:
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "time.monotonic()",
        "from time import monotonic",
        "import time as clock",
        "dt.datetime.now()",
        "dt.datetime.utcnow()",
        "dt.date.today()",
        "condition.wait_for(ready, 1)",
        "queue.Queue().get(timeout=1)",
        "from queue import Queue",
    ],
)
def test_a_replaceable_clock_is_found(source: str):
    assert direct_uses(source) != []


def test_traced_processes_read_the_clock_in_one_place(root: Path):
    files = [root / "somatrace" / part for part in TRACED]
    modules = [path for part in files for path in ([part] if part.suffix else part.rglob("*.py"))]
    uses = {
        f"{path.name}: {use}"
        for path in modules
        if path.name != "clock.py"
        for use in direct_uses(path.read_text())
    }

    # timestamps of spans and events come from the clock that the SDK reads
    stamped = {
        "annotate.py",
        "assistant_streams.py",
        "assistants.py",
        "first_token.py",
        "lean_span.py",
        "lean_tracer.py",
        "noted_spans.py",
        "recording_span.py",
    }
    assert uses == {f"{name}: time.time_ns" for name in stamped}


def test_the_clock_gives_the_date_in_utc():
    before, now, after = dt.datetime.now(dt.UTC), clock.now(), dt.datetime.now(dt.UTC)

    assert before - dt.timedelta(seconds=1) <= now <= after + dt.timedelta(seconds=1)
    assert now.tzinfo is dt.UTC


def test_the_clock_does_not_follow_a_replaced_one(monkeypatch: pytest.MonkeyPatch):
    def broken() -> float:
        raise LookupError

    for name in ("monotonic", "time", "time_ns", "perf_counter_ns"):
        monkeypatch.setattr(time, name, broken)
    assert clock.now().year < 2999
    assert clock.monotonic() <= clock.monotonic()


FROZEN = """
import time
NAMES = "monotonic", "time", "time_ns", "monotonic_ns", "perf_counter_ns"
def freeze():
    frozen = {name: getattr(time, name)() for name in NAMES}
    for name, value in frozen.items(): setattr(time, name, lambda value=value: value)
"""
JUMPING = """
import itertools, time
def freeze():
    for name in ("monotonic", "time", "time_ns", "monotonic_ns", "perf_counter_ns"):
        values = itertools.cycle([0, 10**12, -(10**9)])
        setattr(time, name, lambda values=values: next(values))
"""
RAISING = """
import time
def freeze():
    def unexpected(*_): raise RuntimeError("no clock in this test")
    for name in ("monotonic", "time", "monotonic_ns", "perf_counter_ns", "sleep"):
        setattr(time, name, unexpected)
"""
FREEZEGUN = """
def freeze():
    import freezegun
    freezegun.config.configure(default_ignore_list=["none"])  # not even `threading` keeps its clock
    freezegun.freeze_time("2099-01-01").start()
"""
TIME_MACHINE = """
import datetime
def freeze():
    import time_machine
    time_machine.travel(datetime.datetime(2099, 1, 1), tick=False).start()
"""
CLOCK_TOOLS = {
    "frozen": FROZEN,
    "jumping": JUMPING,
    "raising": RAISING,
    "freezegun": FREEZEGUN,
    "time_machine": TIME_MACHINE,
}


@pytest.fixture(params=CLOCK_TOOLS)
def freeze(request: pytest.FixtureRequest) -> str:
    if request.param in ("freezegun", "time_machine") and importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: `make interop`")
    return CLOCK_TOOLS[request.param]


@pytest.mark.slow
@pytest.mark.interop
def test_spans_arrive_under_a_replaced_clock(freeze: str):
    with otlp_server() as server:
        run_program(
            f"""{freeze}
from somatrace import flush, init_tracing, span
init_tracing("test")
freeze()
for number in range(3):
    with span("work"): pass
    assert flush(60)
""",
            otlp_env(server.url),
        )
        assert len(server.wait_for(3)) == 3


@pytest.mark.slow
@pytest.mark.interop
def test_spans_arrive_if_somatrace_is_imported_under_a_replaced_clock(freeze: str):
    if freeze == RAISING:
        pytest.skip("libraries read the clock when they are imported")
    with otlp_server() as server:
        run_program(
            f"""{freeze}
freeze()
from somatrace import flush, init_tracing, span
init_tracing("test")
for number in range(3):
    with span("work"): pass
    assert flush(60)
""",
            otlp_env(server.url),
            timeout=180,
        )
        assert len(server.wait_for(3)) == 3


def test_the_clock_is_pythons_if_somatrace_is_imported_under_a_replaced_one():
    run_program(
        """
import time
given = time.monotonic
time.monotonic = time.time = lambda: 0.0
from somatrace.runtime.clock import clock
assert clock.monotonic() >= given() - 60 > 0 and clock.time() > 1e9
assert time.monotonic() == 0.0
""",
        {},
    )


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("answer", ["refuses", "is silent"])
def test_flush_shutdown_and_exit_end_under_a_replaced_clock_with_the_backend_away(freeze: str, answer: str):
    with otlp_server() as server:
        server.reply = lambda _: Reply(delay=-1)
        url = server.url if answer == "is silent" else "http://127.0.0.1:9"
        done = run_program(
            f"""{freeze}
from somatrace import flush, init_tracing, shutdown, span
init_tracing("test")
freeze()
with span("work"): pass
print(flush(0.5), flush(0.5), shutdown(0.5))
""",
            otlp_env(url),
            timeout=180,
        )
    assert done.stdout == "False False False\n"


@pytest.mark.slow
@pytest.mark.interop
def test_forks_end_under_a_replaced_clock(freeze: str, tmp_path: Path):
    run_program(
        f"""{freeze}
import os
from somatrace import init_tracing, span
init_tracing("test")
freeze()
for _ in range(3):
    with span("work"): pass
    child = os.fork()
    if child == 0: os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
""",
        {"SOMATRACE_DATA_DIR": str(tmp_path / "data")},
        timeout=180,
    )


@pytest.mark.slow
@pytest.mark.interop
def test_a_program_that_freezes_time_in_the_future_deletes_no_stored_span(freeze: str, tmp_path: Path):
    if freeze == TIME_MACHINE:
        pytest.skip("time-machine changes the clock below Python: stored spans get its date")
    run_program(
        f"""{freeze}
from somatrace import Config, flush, init_tracing, span
init_tracing("test", config=Config(local_max_days=1))
with span("before"): pass
assert flush(60)
freeze()
for _ in range(3):
    with span("after"): pass
    assert flush(60)
""",
        {"SOMATRACE_DATA_DIR": str(tmp_path / "data")},
    )
    query = "SELECT name FROM spans ORDER BY name"
    with closing(FreshStore(tmp_path / "data", patience=HANG)) as store:
        names = [name for (name,) in store.read(lambda connection: connection.execute(query).fetchall())]
    assert names == ["after"] * 3 + ["before"]
