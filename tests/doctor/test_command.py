"""The command `somatrace doctor`: output, exit codes and invalid input."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def doctor(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "somatrace", "doctor", *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_diagnosis_is_printed_as_text_or_as_one_json_object():
    lines, as_json = doctor(), doctor("--json")

    assert (lines.returncode, lines.stderr) == (0, "")
    assert lines.stdout.splitlines()[-1].endswith("(exit code 0)")
    diagnosis = json.loads(as_json.stdout)
    assert (as_json.returncode, diagnosis["exit_code"]) == (0, 0)
    assert {"setting", "value", "source", "why"} == set(diagnosis["settings"][0])
    assert {"kind", "level", "text", "advice"} == set(diagnosis["findings"][0])


def test_a_wrong_finding_exits_with_1_and_gives_advice():
    done = doctor(env={"SOMATRACE_SAMPLE_RATE": "7"})

    assert done.returncode == 1
    assert "WRONG" in done.stdout
    assert "-> fix it where it is set" in done.stdout


def test_settings_can_come_from_an_env_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("SOMATRACE_SAMPLE_RATE=0.5\n")

    assert "SOMATRACE_SAMPLE_RATE (env file)" in doctor("--env-file", str(file)).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--app", "no good"], "module:app"),
        (["--app", "../svc.py"], "module:app"),
        (["--timeout", "0"], "--timeout"),
        (["--env-file", "/no/such/file"], "--env-file"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_invalid_input_prints_one_line_and_exits_with_2(arguments, expected):
    done = doctor(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
