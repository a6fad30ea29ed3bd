"""The command line: bad input prints one line with the fix, exits with 2, and never shows a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

COMMAND = [sys.executable, "-m", "somatrace"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lokal"], "No such command 'lokal'"),
        (["local", "--port", "abc"], "--port"),
        (["local", "--port", "70000"], "--port"),
        (["local", "--host", "0.0.0.0"], "127.0.0.1"),
        (["local", "--env-file", "/no/such/file"], "--env-file"),
        (["local", "--data-dir", "/proc/no/such"], "/proc/no/such"),
        (["local", "--nonsense"], "--nonsense"),
        (["prices", "--check", "/no/such/file"], "--check: /no/such/file: the file is missing"),
        (["prices", "gpt-4o", "--check", "prices.json"], "--check takes no words"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(arguments, message) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_version_and_help_are_printed() -> None:
    assert run("version").stdout == run("--version").stdout
    assert run("version").stdout.strip().count(".") == 2
    assert "local" in run("--help").stdout


def test_the_list_of_commands_describes_each_in_one_whole_sentence() -> None:
    commands = run("--help").stdout.partition("Commands:")[2].strip().splitlines()

    assert len(commands) == 8
    assert all(line.endswith(".") and not line.endswith("...") for line in commands), commands


@pytest.mark.parametrize("command", ["check", "smoke", "doctor", "drain", "prices", "costs"])
def test_the_help_of_a_command_that_judges_lists_its_exit_codes(command: str) -> None:
    assert "Exit codes: 0 " in run(command, "--help").stdout


@pytest.mark.parametrize("command", ["check", "local", "smoke", "doctor", "drain", "prices"])
def test_the_help_of_every_command_has_one_style(command: str) -> None:
    lines = run(command, "--help").stdout.splitlines()

    assert lines[0].startswith(f"Usage: somatrace {command} [OPTIONS]")
    assert "Options:" in lines
    assert any(line.startswith("  -h, --help ") for line in lines)


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in run("--help").stdout


def test_local_writes_a_private_ready_file_and_stops_on_an_interrupt(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [*COMMAND, "local", "--port", "0", "--data-dir", str(tmp_path / "data"), "--ready-file", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(ready.exists)
        announced = json.loads(ready.read_text())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=180)
    finally:
        process.kill()
    assert announced["url"].startswith("http://127.0.0.1:")
    assert ready.stat().st_mode & 0o777 == 0o600
    assert announced["secret_key"] not in out + err
    assert "Traceback" not in err
    assert process.returncode in (0, 130)
