"""`somatrace costs` shows what calls have cost: a table, JSON or CSV, and no zeros if it cannot read any."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from somatrace import semconv
from tests.support.local_server import NOW
from tests.support.waiting import HANG

SECOND = 1_000_000_000
START = (NOW - 3600 * SECOND) // SECOND * SECOND


def call(tenant: str, model: str, total: float | None) -> dict:
    cost = (
        {semconv.COST_SOURCE: "unknown"}
        if total is None
        else {semconv.COST_SOURCE: "table", semconv.OBSERVATION_COST: json.dumps({"total": total})}
    )
    return {
        "langfuse.trace.tags": [f"tenant:{tenant}"],
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": model,
        "langfuse.observation.usage_details": json.dumps({"input": 1000, "output": 20}),
        **cost,
    }


@pytest.fixture
def env(server, export) -> dict[str, str]:
    """The environment of a program whose Langfuse has calls of two tenants."""
    request = export()
    request.span(start_ns=START, seconds=0.25, attributes=call("acme", "small-1", 0.0123))
    request.span(start_ns=START, seconds=2, failed="no", attributes=call("acme", "small-1", 1234.5))
    request.span(start_ns=START, seconds=0.5, attributes=call('x,"y"', "own-1", None))
    server.send(request)
    return {
        "LANGFUSE_BASE_URL": server.url,
        "LANGFUSE_PUBLIC_KEY": server.keys.public_key,
        "LANGFUSE_SECRET_KEY": server.keys.secret_key,
    }


@pytest.fixture
def costs(monkeypatch):
    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        done = subprocess.run(
            [sys.executable, "-m", "somatrace", "costs", *arguments],
            capture_output=True,
            text=True,
            timeout=HANG,
            check=False,
        )
        assert "sk-lf" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_the_table_has_a_total_and_says_where_it_was_read(costs, env):
    done = costs(**env)

    heading, acme, other, total, source, unknown = done.stdout.splitlines()
    assert " ".join(heading.split()) == "tenant calls errors input output cost USD unknown p50 p95 p99"
    assert " ".join(acme.split()) == "acme 2 1 2,000 40 1,234.512300 0 250 ms 2 s 2 s"
    assert " ".join(other.split()) == 'x,"y" 1 0 1,000 20 - 1 500 ms 500 ms 500 ms'
    assert " ".join(total.split()) == "total 3 1 3,000 60 1,234.512300 1 500 ms 2 s 2 s"
    assert source.startswith("costs: 3 calls from ")
    assert source.endswith(f"read from langfuse, {env['LANGFUSE_BASE_URL']}")
    assert unknown == "costs: the price of these calls is unknown: own-1 1"
    assert (done.returncode, done.stderr) == (0, "")


def test_json_has_every_digit_and_null_for_unknown(costs, env):
    done = costs("--json", "--by", "model,tenant", **env)

    report = json.loads(done.stdout)
    assert (report["source"], report["exit_code"], report["cut"]) == ("langfuse", 0, False)
    assert [(row["model"], row["tenant"], row["cost_usd"], row["unknown"]) for row in report["rows"]] == [
        ("small-1", "acme", "1234.5123", 0),
        ("own-1", 'x,"y"', None, 1),
    ]
    assert report["total"]["calls"] == 3
    assert report["unpriced"] == {"own-1": 1}


def test_csv_has_the_rows_alone_and_remarks_go_to_standard_error(costs, env):
    done = costs("--csv", **env)

    acme, other = csv.DictReader(io.StringIO(done.stdout))
    assert (acme["tenant"], acme["calls"], acme["cost_usd"], acme["p95_ms"]) == (
        "acme",
        "2",
        "1234.5123",
        "2000",
    )
    assert (other["tenant"], other["cost_usd"], other["unknown"]) == ('x,"y"', "", "1")
    assert "own-1 1" in done.stderr


def test_settings_can_come_from_an_env_file(costs, env, tmp_path):
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in env.items()))

    assert json.loads(costs("--json", "--env-file", str(file)).stdout)["total"]["calls"] == 3


def test_a_period_without_calls_says_so(costs, env):
    done = costs("--until", "2026-01-02", "--since", "2026-01-01", **env)

    assert done.stdout.startswith("costs: no calls from 2026-01-01 00:00 to 2026-01-02 00:00 UTC, read from")
    assert done.returncode == 0


def test_a_part_of_the_figures_exits_with_3(costs, env):
    done = costs("--max-spans", "1", **env)

    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("costs: earlier calls were not read")


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_nothing_to_read_is_unavailable_and_exits_with_1(costs, form):
    done = costs(*form)

    reason = "no span is stored on this machine, and no Langfuse server is configured"
    assert done.returncode == 1
    if form == ("--json",):
        report = json.loads(done.stdout)
        assert (report["source"], report["reason"], report["total"]) == ("unavailable", reason, None)
    else:
        assert (done.stderr if form else done.stdout) == f"costs: unavailable: {reason}\n"
        assert (done.stdout if form else done.stderr) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--by", "tenant,tenant"),
            "--by: use one or more of tenant, workflow, agent, model, provider, service, day",
        ),
        (("--since", "last week"), "--since: use a span of time before now, such as 24h or 7d"),
        (("--source", "cloud"), "--source: use one of auto, langfuse, local"),
        (("--json", "--csv"), "--json, --csv and --html exclude each other"),
        (("--max-spans", "0"), "'--max-spans'"),
    ],
)
def test_bad_input_is_one_line_and_exits_with_2(costs, arguments, message):
    done = costs(*arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
