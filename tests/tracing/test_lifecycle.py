"""From the first span to process exit: nothing hangs, and every span is accounted for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import pytest

from somatrace.runtime.limits import LOAD_LIMIT
from tests.delivery.support import answering, raw_server, read_request
from tests.support.otlp_server import Reply, otlp_server
from tests.support.ports import refusing_port
from tests.support.programs import PATIENT, otlp_env, run_program

START = "from somatrace import *\nimport os, sys, threading, time\ninit_tracing('life')\n"
#: Seconds from a program's last line to the end of its process: one is ours, the rest is for a busy machine.
#: Without a limit it would be what the target takes, or its timeout.
BOUND = 30.0
#: Seconds that a target takes, and its timeout.
NEVER = 120.0


@pytest.fixture
def server():
    with otlp_server() as running:
        yield running


@contextmanager
def hanging():
    with otlp_server() as server:
        server.reply = lambda _: Reply(delay=-1)
        yield server.url, {}


@contextmanager
def dripping():
    def drip(connection: socket.socket) -> None:
        read_request(connection)
        for _ in range(1000):
            connection.sendall(b"H")
            time.sleep(0.05)

    with raw_server(drip) as port:
        yield f"http://127.0.0.1:{port}", {}


@contextmanager
def refusing_connections():
    with refusing_port() as port:
        yield f"http://127.0.0.1:{port}", {}


@contextmanager
def refusing_everything():
    with raw_server(answering(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as port:
        yield f"http://127.0.0.1:{port}", {}


@contextmanager
def not_accepting():
    """A listener whose backlog is full: a connection attempt gets no response."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", {}
        for filler in fillers:
            filler.close()


@contextmanager
def silent_tls():
    with raw_server(lambda connection: time.sleep(NEVER)) as port:
        yield f"https://127.0.0.1:{port}", {}


@contextmanager
def unresolvable():
    yield "http://collector.invalid:4318", {"SLOW_DNS": "1"}


TARGETS = [
    hanging,
    dripping,
    refusing_connections,
    refusing_everything,
    not_accepting,
    silent_tls,
    unresolvable,
]
# a name server that never responds, as seen by getaddrinfo
DNS = """
if "SLOW_DNS" in os.environ:
    import socket
    socket.getaddrinfo = lambda *args, **kwargs: time.sleep(120)
"""


def run(
    source: str, env: dict[str, str], *, check: bool = True, first: str = ""
) -> tuple[subprocess.CompletedProcess, float]:
    """What the program said, and the moment at which its process had ended."""
    env = {"OTEL_EXPORTER_OTLP_TIMEOUT": str(NEVER), **env}
    done = run_program(first + START + DNS + textwrap.dedent(source), env, check=check)
    return done, time.monotonic()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_process_exit_is_bounded_whatever_the_target_does(target):
    with target() as (url, env):
        done, ended = run("with span('work'): pass\nprint(time.monotonic())", otlp_env(url, **env))

    assert "Traceback" not in done.stderr
    assert ended - float(done.stdout) < BOUND


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_flush_shutdown_and_force_flush_respect_their_timeouts(target):
    with target() as (url, env):
        done, _ = run(
            """
            from opentelemetry import trace
            with span("work"): pass
            slack = 30  # a busy machine's; a call that awaited the target would take two minutes
            def took(call):
                started = time.monotonic()
                answer = call()
                return answer, time.monotonic() - started
            provider = trace.get_tracer_provider()
            for call, limit in (
                (lambda: flush(0.2), 0.2),
                (lambda: flush(0), 0),
                (lambda: provider.force_flush(200), 0.2),
                (lambda: shutdown(0.4), 0.4),
                (lambda: shutdown(5), 0),
                (lambda: flush(5), 0),
            ):
                answer, seconds = took(call)
                assert answer is False, (limit, answer)
                assert seconds < limit + slack, (limit, seconds)
            now = status()
            assert (now.created, now.left, dict(now.lost)) == (1, 1, {}), now
            assert now.queued_spans == 0, now
            """,
            otlp_env(url, **env),
        )

    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise RuntimeError('the program failed')", 1),
        ("sys.exit(7)", 7),
        ("raise KeyboardInterrupt", 1),
        ("threading.Thread(target=lambda: sys.exit(3)).start()", 0),
        ("threading.Thread(target=time.sleep, args=(0.2,)).start()", 0),
        ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", 0),
        ("import asyncio; asyncio.run(asyncio.sleep(0))", 0),
        ("import uvloop; uvloop.run(__import__('asyncio').sleep(0))", 0),
    ],
)
def test_spans_ended_just_before_exit_arrive(server, request, ending, code):
    if "KeyboardInterrupt" in ending:  # a program under coverage ends by the signal instead
        request.getfixturevalue("unmeasured")
    done, _ = run(
        f"for _ in range(700):\n    with span('last'): pass\n{ending}",
        otlp_env(server.url),
        check=False,
        first=PATIENT,
    )

    assert done.returncode == code
    assert len(server.named("last")) == 700


@pytest.mark.slow
def test_the_last_spans_arrive_however_long_it_takes_to_load_what_sends_them(server):
    run(
        """
        class Slow:
            def find_spec(self, name, *more):
                if name in ("opentelemetry.proto", "http.client"):
                    time.sleep(1.2)
        sys.meta_path.insert(0, Slow())
        assert "http.client" not in sys.modules
        with span("last"): pass
        """,
        otlp_env(server.url),
        first=PATIENT,
    )

    assert len(server.named("last")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0, 0.5], ids=["exit starts it", "the worker was in it before"])
@pytest.mark.parametrize(
    ("module", "env"),
    [
        ("somatrace.delivery.otlp_http", {}),
        ("grpc", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
    ],
    ids=["http", "grpc"],
)
def test_process_exit_is_bounded_although_the_import_of_a_sending_module_hangs(server, module, env, delay):
    if module == "grpc":
        pytest.importorskip("grpc", reason="the extra grpc")
    done, ended = run(
        f"""
        class Hanging:
            def find_spec(self, name, *more):
                if name == {module!r}:
                    print("hangs", file=sys.stderr)
                    time.sleep(120)
        sys.meta_path.insert(0, Hanging())
        assert {module!r} not in sys.modules
        with span("last"): pass
        time.sleep({delay})
        print(time.monotonic())
        """,
        otlp_env(server.url, SOMATRACE_FLUSH_INTERVAL="0.1" if delay else "5", **env),
    )

    hangs, left = done.stderr.splitlines()
    assert hangs == "hangs"
    assert left.startswith("unsent spans on disk: 1;")
    assert ended - float(done.stdout) < LOAD_LIMIT + BOUND


def test_spans_of_a_thread_that_outlives_the_main_thread_arrive(server):
    run(
        """
        def late():
            time.sleep(0.3)
            with span("late"): pass
        threading.Thread(target=late).start()
        """,
        otlp_env(server.url),
        first=PATIENT,
    )

    assert len(server.named("late")) == 1


@pytest.mark.usefixtures("unmeasured")  # coverage saves its data first, and a span arrives meanwhile
def test_os_exit_loses_unflushed_spans(server):
    run("with span('flushed'): pass\nflush(60)\nwith span('lost'): pass\nos._exit(0)", otlp_env(server.url))

    assert [span.name for span in server.spans] == ["flushed"]


def test_default_sigterm_loses_at_most_the_last_flush_interval(server):
    program = START + "with span('before'): pass\nprint('up', flush=True)\ntime.sleep(60)"
    env = {**os.environ, **otlp_env(server.url, SOMATRACE_FLUSH_INTERVAL="0.1")}
    process = subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        server.wait_for(1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    finally:
        process.kill()
        process.communicate()

    assert code == -signal.SIGTERM
    assert len(server.named("before")) == 1


def test_a_program_that_exits_on_sigterm_loses_nothing(server):
    run(
        """
        import signal
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with span("before"): pass
        os.kill(os.getpid(), signal.SIGTERM)
        """,
        otlp_env(server.url, SOMATRACE_FLUSH_INTERVAL="30"),
        first=PATIENT,
    )

    assert len(server.named("before")) == 1


def test_spans_that_end_after_shutdown_are_counted_and_dropped(server):
    run(
        """
        with span("in time"): pass
        assert shutdown(60)
        with span("too late"): pass
        now = status()
        assert (now.created, now.delivered, dict(now.lost), now.queued_spans) == (2, 1, {"exit": 1}, 0), now
        assert shutdown(60)
        assert not any(t.name.startswith("somatrace") for t in threading.enumerate())
        """,
        otlp_env(server.url),
    )

    assert [span.name for span in server.spans] == ["in time"]


def test_status_reflects_each_state(server, tmp_path):
    back = tmp_path / "back"
    server.reply = lambda _: Reply(200 if back.exists() else 503)
    run(
        """
        fresh = status()
        assert (fresh.enabled, fresh.available, fresh.created, fresh.last_error) == (True, True, 0, ""), fresh
        with span("one"):
            open_ = status()
            assert (open_.created, open_.queued_spans, open_.delivered) == (1, 0, 0), open_
        until = time.monotonic() + 60
        while status().available and time.monotonic() < until:
            time.sleep(0.005)
        away = status()
        assert (away.available, away.queued_spans, away.delivered) == (False, 1, 0), away
        assert away.queued_bytes > 0 and "503" in away.last_error, away
        [problem] = away.problems
        assert problem.startswith("target: ") and "503" in problem, away
        open(os.environ["BACK"], "w").close()
        assert flush(60)
        back = status()
        assert (back.available, back.queued_spans, back.queued_bytes, back.delivered) == (True, 0, 0, 1), back
        assert back.problems == (), back
        assert back.success_rate == 1.0 and back.latency_p50 > 0 and back.throughput > 0, back
        """,
        otlp_env(server.url, BACK=str(back)),
    )


def test_an_outage_logs_one_line_at_its_start_and_one_at_its_end(server):
    server.reply = lambda number: Reply(503 if number < 3 else 200)
    done, _ = run(
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
        for _ in range(300):
            with span("one"): pass
            time.sleep(0.001)
        assert flush(60)
        """,
        otlp_env(
            server.url, SOMATRACE_BATCH_SIZE="10", SOMATRACE_FLUSH_INTERVAL="0.001", SOMATRACE_MAX_RETRIES="0"
        ),
    )

    lines = [line for line in done.stderr.splitlines() if "somatrace" in line]
    assert len(lines) == 2
    assert "503" in lines[0]
    assert "accepts spans again" in lines[1]
    assert len(server.spans) == 300


@pytest.mark.parametrize("status", [401, 403, 404, 400, 500, 307])
def test_no_secret_appears_in_status_repr_or_log(server, status):
    secrets = ["canary-header", "canary-query", "canary-answer"]
    server.reply = lambda _: Reply(status, b"canary-answer", {"X-Answer": "canary-answer"})
    url = f"{server.traces_url}?token=canary-query"
    done, _ = run(
        """
        import logging
        logging.basicConfig(level=logging.DEBUG)
        with span("one"): pass
        until = time.monotonic() + 60
        while not status().last_error and time.monotonic() < until:
            flush(0.5)
        print(status(), repr(status()))
        """,
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=canary-header",
            "SOMATRACE_DEBUG": "true",
        },
    )

    assert server.requests > 0
    for secret in secrets:
        assert secret not in done.stdout + done.stderr
    if status in {401, 403, 404}:  # a refusal is a problem, not only a target that is not available
        assert f"problems=('target: {server.url}" in done.stdout
        assert "available=False" in done.stdout


def test_langfuse_keys_from_files_are_read_again_after_a_401(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("sk-lf-old")

    def reply(number: int) -> Reply:
        import base64

        pair = base64.b64decode(server.headers[number]["authorization"].removeprefix("Basic ")).decode()
        if pair.endswith("old"):
            secret.write_text("sk-lf-new\n")
        return Reply(200 if pair == "pk-lf-1:sk-lf-new" else 401)

    server.reply = reply
    run(
        "with span('one'): pass\nassert flush(60), status()\nassert status().available",
        {
            "LANGFUSE_BASE_URL": server.url,
            "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
            "LANGFUSE_SECRET_KEY_FILE": str(secret),
        },
    )

    assert server.requests == 2
    assert len(server.named("one")) == 1


BLOCKING = """
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
class Blocking(SpanProcessor):
    def on_end(self, span): time.sleep(120)
    def force_flush(self, timeout_millis=30000): time.sleep(120); return True
    def shutdown(self): time.sleep(120)
trace.get_tracer_provider().add_span_processor(Blocking())
"""


def test_a_blocking_third_party_processor_does_not_delay_delivery_flush_or_exit(server):
    done, ended = run(
        BLOCKING
        + """
for _ in range(100):
    with span("one"): pass
until = time.monotonic() + 60
while status().delivered < 100 and time.monotonic() < until:
    time.sleep(0.01)
assert status().delivered == 100, status()
started = time.monotonic()
for _ in range(20):
    assert not flush(0.05)
assert time.monotonic() - started < 60  # one of 20 that waited for the processor would take two minutes
assert threading.active_count() < 9, threading.enumerate()
print(time.monotonic())
""",
        otlp_env(server.url),
    )

    assert done.stderr == ""
    assert ended - float(done.stdout) < BOUND
    assert len(server.spans) == 100


def test_a_blocking_third_party_processor_does_not_delay_a_fork(server):
    run(
        BLOCKING
        + """
with span("parent"): pass
time.sleep(0.3)
started = time.monotonic()
pid = os.fork()
if pid == 0:
    with span("child"): pass
    os._exit(0 if status().created == 1 else 1)
assert time.monotonic() - started < 60  # the processor would take two minutes
assert os.waitpid(pid, 0)[1] == 0
""",
        otlp_env(server.url),
    )


@pytest.mark.slow
def test_memory_stays_bounded_while_the_target_is_unavailable():
    with refusing_connections() as (url, _):
        run(
            """
            for _ in range(3000):
                with span("one", filler="x" * 2000): pass
            flush(1)
            now = status()
            assert now.queued_bytes < 400_000, now
            assert now.created == 3000 == now.queued_spans + sum(now.lost.values()), now
            assert set(now.lost) <= {"backend_away", "queue_full"} and now.lost, now
            """,
            otlp_env(url, SOMATRACE_QUEUE_BYTES="200000", SOMATRACE_CONTENT="redacted"),
        )
