"""The command behind `make load`: costs are attributed as the model server has served them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.demo import histogram
from services.demo.load_plan import LABEL, WORKFLOWS, arrivals, tenants
from services.demo.stack import PRICES
from tests.support.waiting import HANG


def load(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.demo.load", *map(str, arguments)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=9 * HANG,  # eight processes start, on a busy machine one after the other
    )


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    data = tmp_path_factory.mktemp("load") / "data"
    done = load(root, "--tenants", 4, "--rate", 4, "--errors", 0.5, "--minutes", 0.1, "--data-dir", data)
    return done, data


@pytest.fixture
def earlier(finished, tmp_path) -> Path:
    """A copy of the finished run's directory, which a test may change."""
    return Path(shutil.copytree(finished[1], tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.timeout(10 * HANG)
def test_nothing_differs_with_retries_and_final_errors(finished):
    done, data = finished
    served = [json.loads(line) for line in (data / "served.jsonl").read_text().splitlines()]

    assert done.returncode == 0, done.stdout + done.stderr
    for source in ("langfuse", "ledger"):
        assert f"{source}: difference 0 in calls, errors, tokens and cost, for every request" in done.stdout
    assert {call["status"] for call in served} == {200, 429, 500}
    assert all(f"{workflow}: 8 requests, p50 " in done.stdout for workflow in WORKFLOWS)


@pytest.mark.slow
def test_a_changed_account_of_the_model_server_names_the_request(root, earlier):
    file = earlier / "served.jsonl"
    *others, last = file.read_text().splitlines()
    call = json.loads(last)
    file.write_text("\n".join([*others, json.dumps(call | {"input": call["input"] + 1})]) + "\n")

    done = load(root, "--again", "--data-dir", earlier)

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.count("requests that differ: 1\n") == 2
    assert f"  {call['label']} {call['model']}: served " in done.stdout


@pytest.mark.slow
def test_other_prices_than_those_of_the_services_differ_for_every_request_with_tokens(
    root, earlier, tmp_path
):
    prices = tmp_path / "prices.json"
    prices.write_text(PRICES.read_text().replace('"input": 15', '"input": 15.000001'))
    served = [json.loads(line) for line in (earlier / "served.jsonl").read_text().splitlines()]

    done = load(root, "--again", "--prices", prices, "--data-dir", earlier)

    assert done.returncode == 1, done.stdout + done.stderr
    labels = {call["label"] for call in served if call["input"]}
    assert done.stdout.count(f"requests that differ: {len(labels)}\n") == 2


@pytest.mark.parametrize(
    "option",
    ["--tenants=0", "--tenants=two", "--workflows=lunch", "--rate=0", "--errors=1.1", "--minutes=nan"],
)
def test_a_bad_value_is_one_line_and_exit_code_2(root, option):
    done = load(root, option)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert option.partition("=")[0] in done.stderr


def test_make_passes_each_variable_as_an_option(root):
    variables = {"TENANTS": "5", "WORKFLOWS": "order-status", "RATE": "2", "ERRORS": "0.3", "MINUTES": "0.5"}
    command = ["make", "--dry-run", "load", *(f"{name}={value}" for name, value in variables.items())]

    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=HANG).stdout

    assert all(f"--{name.lower()}='{value}'" in shown for name, value in variables.items())


def test_a_missing_price_file_is_one_line_and_exit_code_2(root, tmp_path):
    done = load(root, "--prices", tmp_path / "absent.json", "--data-dir", tmp_path / "data")

    assert (done.returncode, len(done.stdout.splitlines())) == (2, 1)


def test_every_request_has_its_own_id_and_its_time():
    planned = arrivals(tenants(12), WORKFLOWS, rate=2, errors=0.5, minutes=1)

    assert [arrival.at for arrival in planned] == [number / 2 for number in range(120)]
    assert len({arrival.request for arrival in planned}) == 120
    assert len({arrival.tenant.id for arrival in planned}) == 12
    assert all(re.search(LABEL, arrival.text)[0] == arrival.request for arrival in planned)


def test_a_histogram_has_every_bucket_between_the_least_and_the_most():
    assert list(histogram.lines("ask", [0.010, 0.011, 0.011, 0.040])) == [
        "ask: 4 requests, p50 11 ms, p95 40 ms, p99 40 ms, max 40 ms",
        "  <= 11 ms  3  ########################################",
        "  <= 16 ms  0",
        "  <= 23 ms  0",
        "  <= 32 ms  0",
        "  <= 45 ms  1  ##############",
    ]
