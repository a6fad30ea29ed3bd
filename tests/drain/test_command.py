"""The command `somatrace drain`: bad input prints one line and exits with 2, and nothing is created."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drain.waiting import Run, leave, tree
from tests.support.otlp_server import OtlpServer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "0"], "--timeout"),
        (["--env-file", "/no/such/file"], "--env-file"),
        (["--data-dir", "/no/such/directory"], "--data-dir: /no/such/directory is not a directory"),
        (["--export", "file", "--dry-run"], "leave out --export"),
        (["--export", "file", "--retarget"], "leave out --retarget"),
        (["everything"], "everything"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_2(drain: Run, arguments: list[str], message: str) -> None:
    done = drain(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SOMATRACE_TARGET": "local"}, "the target is local, for which nothing waits: set LANGFUSE_*"),
        ({"SOMATRACE_TARGET": "console"}, "the target is console"),
        ({"SOMATRACE_TARGET": "none"}, "the target is none"),
        ({"SOMATRACE_TARGET": "langfuse"}, "LANGFUSE_PUBLIC_KEY"),
        ({"SOMATRACE_ENABLED": "false"}, "SOMATRACE_ENABLED disables tracing"),
    ],
)
def test_settings_without_a_target_print_one_line_and_exit_with_2(
    server: OtlpServer, data: Path, drain: Run, settings: dict[str, str], message: str
) -> None:
    leave(data, server.url, "one")
    before = tree(data)

    done = drain(**settings)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tree(data) == before


def test_what_waits_is_listed_without_a_target(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one")

    done = drain("--dry-run", SOMATRACE_TARGET="none")

    assert done.returncode == 1
    assert "for another target" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--retarget",), ("--export", "file")])
def test_nothing_is_created_where_there_is_nothing(
    tmp_path: Path, drain: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    configured = drain(*arguments, SOMATRACE_DATA_DIR=str(tmp_path / "none"))
    usual = drain(*arguments, SOMATRACE_DATA_DIR="", XDG_STATE_HOME=str(tmp_path / "state"), TMPDIR=str(here))

    for done in (configured, usual):
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("drain: nothing waits in ")
        assert len(done.stdout.splitlines()) == 1
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "state").exists()
    assert tree(here) == {}


def test_what_a_file_says_cannot_write_to_the_terminal(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one", service="orders\x1b[2J")

    done = drain()

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
