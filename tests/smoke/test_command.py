"""The command `somatrace smoke`: output, exit codes and invalid input."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "somatrace", "smoke"]


def smoke(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--timeout", "120", *arguments],  # the last one given counts
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_the_report_is_printed_as_text_or_as_one_json_object(backend):
    lines = smoke(env=backend.env)
    as_json = smoke("--json", env=backend.env)

    assert (lines.returncode, lines.stderr) == (0, "")
    assert lines.stdout.splitlines()[-1].startswith("smoke: the trace arrived")
    assert any(line.startswith("visible after ") for line in lines.stdout.splitlines())
    report = json.loads(as_json.stdout)
    assert (as_json.returncode, report["exit_code"], report["outcome"]) == (0, 0, "ok")
    assert len(report["trace_id"]) == 32


def test_an_outcome_sets_the_exit_code_without_a_traceback(backend):
    done = smoke(env={**backend.env, "LANGFUSE_HOST": "http://nowhere.invalid"})

    assert done.returncode == 10
    assert "(exit code 10)" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "soon"], "--timeout"),
        (["--env-file", "/no/such/file"], "--env-file"),
        (["--real"], "--model"),
        (["--model", "gpt-x"], "--real"),
        (["everything"], "everything"),
    ],
)
def test_invalid_input_prints_one_line_and_exits_with_2(arguments, expected):
    done = smoke(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_closing_its_output_early_is_not_an_error():
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m somatrace smoke | head -n 1"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.stdout == "target: local (default)\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_a_terminated_run_leaves_no_process_and_no_file_behind(backend, tmp_path):
    backend.reading = lambda: (503, {})
    places = tmp_path / "tmp"
    places.mkdir()
    process = subprocess.Popen(COMMAND, env={**os.environ, **backend.env, "TMPDIR": str(places)})
    wait_until(lambda: backend.asked or list(places.rglob("ready")))

    process.terminate()

    assert process.wait(60) == 143
    assert list(places.glob("somatrace-*")) == []
