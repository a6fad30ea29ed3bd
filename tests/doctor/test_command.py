"""The command `somatrace doctor`: output, exit codes and invalid input."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest

from somatrace.doctor.diagnosis import Diagnosis
from somatrace.doctor.findings import finding

COMMAND = [sys.executable, "-m", "somatrace", "doctor"]


def doctor(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_diagnosis_is_printed_as_text_or_as_one_json_object():
    lines, as_json = doctor(), doctor("--json")

    assert (lines.returncode, lines.stderr) == (0, "")
    assert lines.stdout.splitlines()[0].endswith("(exit code 0)")
    diagnosis = json.loads(as_json.stdout)
    assert (as_json.returncode, diagnosis["exit_code"]) == (0, 0)
    assert {"setting", "value", "source", "why"} == set(diagnosis["settings"][0])
    assert {"kind", "level", "text", "advice"} == set(diagnosis["findings"][0])


def test_a_wrong_finding_exits_with_1_and_gives_advice():
    done = doctor(env={"SOMATRACE_SAMPLE_RATE": "7"})

    assert done.returncode == 1
    verdict, _, problem, advice, *_ = done.stdout.splitlines()
    assert verdict.startswith("doctor: 1 wrong, ")
    assert problem.startswith("WRONG    setting: SOMATRACE_SAMPLE_RATE: ")
    assert advice.strip().startswith("-> fix it where it is set")
    assert "1.0  (SOMATRACE_SAMPLE_RATE, with a problem)" in done.stdout


def test_problems_come_first_whatever_was_examined_first():
    findings = [
        finding("store_empty", most="1 MB", days=7),
        finding("console", variable="SOMATRACE_TARGET"),
        finding("app_slow", app="service", seconds=10),
        finding("problem", what="bad"),
    ]

    lines = [line for line in Diagnosis((), tuple(findings)).lines() if "  " in line and "->" not in line]

    assert [line.split()[0] for line in lines] == ["WRONG", "UNKNOWN", "note", "ok"]


def test_only_settings_that_are_set_are_shown_and_all_of_them_with_all():
    usual, everything = doctor(env={"SOMATRACE_QUEUE_SIZE": "10"}), doctor("--all")

    assert "queue_size  10  (SOMATRACE_QUEUE_SIZE)" in usual.stdout
    assert "flush_interval" not in usual.stdout
    assert "instrumented by" not in usual.stdout
    assert "flush_interval" in everything.stdout
    assert "dependencies in their supported ranges" in everything.stdout


def test_findings_are_colored_on_a_terminal_only_and_not_with_no_color():
    def on_a_terminal(**env: str) -> str:
        given = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        terminal, end = os.openpty()
        with subprocess.Popen(COMMAND, env={**given, **env}, stdout=end, stdin=end):
            os.close(end)
            text = b""
            with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
                while read := os.read(terminal, 65536):
                    text += read
        os.close(terminal)
        return text.decode()

    assert "\x1b[36mnote" in on_a_terminal()
    assert "\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b[" not in doctor().stdout


def test_bad_input_and_checks_that_could_not_run_have_codes_of_their_own(tmp_path):
    assert doctor("--app", "no good").returncode == 2
    assert doctor("--app", "nothing:app").returncode == 3


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
