"""`somatrace drain --dead` shows, exports and tries again what a target does not accept."""

from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import pytest

from tests.delivery.support import names
from tests.drain.waiting import Run, counted, leave, tree
from tests.support.otlp_server import OtlpServer, Reply
from tests.support.programs import run_program

SERVICE = """
import time
from somatrace import bind, content, flush, init_tracing, span, status

init_tracing("orders")
until = time.monotonic() + 60
with bind(tenant_id="acme"), span("bad", kind="llm"):
    content(input="the words of acme")
while not status().lost and time.monotonic() < until:
    with span("good", kind="workflow", tenant_id="acme"):
        pass
    flush(60)
print(dict(status().lost), status().queued_spans)
"""


def reject(server: OtlpServer, *bad: str, body: bytes = b"no") -> None:
    """Answer 400 to requests with one of these spans."""
    server.reply = lambda number: Reply(400, body) if set(bad) & set(names(server.raw[number])) else Reply()


@pytest.fixture
def dead(server: OtlpServer, env: dict[str, str]) -> dict[str, str]:
    """The settings of a service that has set a span aside."""
    reject(server, "bad", body=b'{"error": "cannot store it for ada@example.com"}')
    done = run_program(SERVICE, env)
    assert done.stdout == "{'dead_letter': 1} 0\n"
    return env


def test_a_dead_letter_is_listed_with_when_for_whom_and_why(
    server: OtlpServer, data: Path, drain: Run, dead: dict[str, str]
) -> None:
    before = tree(data)

    listed = drain("--dead")
    report = json.loads(drain("--dead", "--json").stdout)

    headings, row, last = listed.stdout.splitlines()
    assert listed.returncode == report["exit_code"] == 1
    assert headings.split() == [
        "when",
        "service",
        "target",
        "tenant",
        "span",
        "trace",
        "id",
        "span",
        "id",
        "answer",
    ]
    assert row.split()[2:6] == ["orders", "otlp", server.traces_url, "acme"]
    assert row.endswith('400: {"error": "cannot store it for [EMAIL]"}')
    assert last == "drain: 1 span not accepted by the target"
    [span] = report["dead"]
    assert (span["name"], span["tenant"], span["status"]) == ("bad", "acme", "400")
    assert span["trace_id"] in row
    assert span["span_id"] in row
    assert tree(data) == before


def test_without_dead_letters_it_says_so(data: Path, drain: Run) -> None:
    done = drain("--dead")

    assert (done.returncode, done.stdout) == (0, f"drain: no dead letters in {data}\n")
    assert tree(data) == {}


def test_an_export_takes_them_away_once_the_file_is_written(
    data: Path, drain: Run, dead: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "dead.otlp"

    failed = drain("--dead", "--export", str(tmp_path / "none" / "dead.otlp"))
    done = drain("--dead", "--export", str(file))

    assert failed.returncode == 2
    assert "cannot be written" in failed.stderr
    assert (done.returncode, done.stdout) == (0, "drain: 1 span exported, 0 left\n")
    assert names(file.read_bytes()) == ["bad"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (data / "dead").exists()


def test_what_is_tried_again_is_sent_if_the_target_accepts_it_now(
    server: OtlpServer, data: Path, drain: Run, dead: dict[str, str]
) -> None:
    server.reply = lambda _: Reply()

    done = drain("--dead", "--retry")

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0] == "1 span waits again"
    assert counted(server)["bad"] == 1
    assert tree(data) == {}


def test_what_is_rejected_again_is_a_dead_letter_again(
    server: OtlpServer, drain: Run, dead: dict[str, str]
) -> None:
    done = drain("--dead", "--retry")

    [span] = json.loads(drain("--dead", "--json").stdout)["dead"]
    assert done.returncode == 1
    assert "1 span not accepted by the target: `somatrace drain --dead` lists them" in done.stdout
    assert span["name"] == "bad"
    assert "bad" not in counted(server)


def test_a_drain_sets_a_bad_span_aside_and_sends_the_others(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, "one", "bad", "two")
    reject(server, "bad")

    done = drain()

    [span] = json.loads(drain("--dead", "--json").stdout)["dead"]
    assert done.returncode == 1
    assert counted(server) == {"one": 1, "two": 1}
    assert (span["name"], span["service"]) == ("bad", "orders")


def test_a_bad_span_that_is_alone_in_the_oldest_file_does_not_keep_those_in_others(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, "bad")
    leave(data, server.url, "one", "two")
    reject(server, "bad")

    drain()

    assert counted(server) == {"one": 1, "two": 1}
    assert [span["name"] for span in json.loads(drain("--dead", "--json").stdout)["dead"]] == ["bad"]


def test_a_target_that_rejects_everything_is_said_to_and_everything_is_kept(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, *(f"span {number}" for number in range(40)))
    server.reply = lambda _: Reply(400)

    done = drain()
    listed = drain("--dead")
    server.reply = lambda _: Reply()
    later = drain()

    assert done.returncode == 1
    assert "orders: 40 spans left: the target does not accept spans" in done.stdout
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stdout
    assert listed.returncode == 0
    assert later.returncode == 0
    assert counted(server) == {f"span {number}": 1 for number in range(40)}


def test_what_a_span_or_an_answer_says_cannot_write_to_the_terminal(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    leave(data, server.url, "good", "bad\x1b[2J")
    reject(server, "bad\x1b[2J", body=b"\x1b[31mno")

    drain()
    listed = drain("--dead")

    assert "bad?[2J" in listed.stdout
    assert "\x1b" not in listed.stdout


@pytest.mark.parametrize("granted", [True, False])
def test_content_leaves_with_an_export_only_under_the_grants_it_was_recorded_under(
    server: OtlpServer, env: dict[str, str], drain: Run, tmp_path: Path, *, granted: bool
) -> None:
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"default: none\ntenants:\n  acme: {{content: full, until: {until}, reason: test}}\n")
    settings = {"SOMATRACE_CONTENT_POLICY_FILE": str(policy)}
    reject(server, "bad", body=b"cannot store: the words of acme")
    run_program(SERVICE, {**env, **settings})
    file = tmp_path / "dead.otlp"

    listed = drain("--dead", "--json", **settings)
    done = drain("--dead", "--export", str(file), **(settings if granted else {}))

    assert "words of" not in listed.stdout
    assert (b"the words of acme" in file.read_bytes()) is granted
    assert ("content was removed from spans" in done.stdout) is not granted
    assert names(file.read_bytes()) == ["bad"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retry"], "use it with --dead"),
        (["--dead", "--retry", "--export", "file"], "use it with --dead only"),
        (["--dead", "--dry-run"], "leave out --dry-run"),
        (["--dead", "--retarget"], "leave out --dry-run and --retarget"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(drain: Run, arguments: list[str], message: str) -> None:
    done = drain(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
