"""Listing changes nothing; an export is complete or not there; damaged and foreign files are named."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from somatrace.spool.segment_format import HEADER_SIZE, MARK
from tests.delivery.support import names
from tests.drain.waiting import COMMAND, Run, counted, leave, tree
from tests.support.otlp_server import OtlpServer
from tests.support.waiting import wait_until


def test_a_dry_run_lists_what_waits_and_changes_nothing(server: OtlpServer, data: Path, drain: Run) -> None:
    here = leave(data, server.url, "one", "two")
    leave(data, server.url, "three", service="billing")
    leave(data, "http://old.internal:4318", "four")
    here.parent.chmod(0o750)
    before = tree(data)

    listed = drain("--dry-run")
    retargeted = drain("--dry-run", "--retarget")

    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    assert listed.returncode == 1
    assert rows[0] == ["service", "target" + rows[0][1].removeprefix("target")]
    assert [row[0] for row in rows[1:]] == ["billing", "orders", "orders"]
    assert [row[1].split()[2] for row in rows[1:]] == ["1", "2", "1"]
    assert [row[1].rpartition("  ")[2].strip() for row in rows[1:]] == [
        "waits",
        "waits",
        "for another target",
    ]
    assert "another" not in retargeted.stdout
    assert tree(data) == before
    assert stat.S_IMODE(here.parent.stat().st_mode) == 0o750
    assert server.requests == 0


def test_the_report_is_printed_as_one_json_object(server: OtlpServer, data: Path, drain: Run) -> None:
    leave(data, server.url, "one", "two")
    leave(data, "http://old.internal:4318", "three")

    listed = json.loads(drain("--dry-run", "--json").stdout)
    sent = drain("--json")

    report = json.loads(sent.stdout)
    assert [(row["spans"], row["state"]) for row in listed["left"]] == [
        (2, "waits"),
        (1, "for another target"),
    ]
    assert all(row["bytes"] > 0 and row["oldest_ns"] > 0 for row in listed["left"])
    assert sent.returncode == report["exit_code"] == 1
    assert (report["sent"], report["lost"], report["target"]) == (2, {}, f"otlp {server.traces_url}")
    (left,) = report["left"]
    assert (left["service"], left["target"], left["spans"]) == (
        "orders",
        "otlp http://old.internal:4318/v1/traces",
        1,
    )


def test_an_export_is_one_private_request_with_everything(
    server: OtlpServer, data: Path, tmp_path: Path, drain: Run
) -> None:
    leave(data, server.url, "one", "two")
    leave(data, "http://old.internal:4318", "three", service="billing")
    file = tmp_path / "waiting.otlp"

    done = drain("--export", str(file), SOMATRACE_TARGET="none")

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(names(file.read_bytes())) == ["one", "three", "two"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert done.stdout.splitlines() == [f"3 spans written to {file}", "drain: 3 spans exported, 0 left"]
    assert tree(data) == {}
    assert server.requests == 0


@pytest.mark.parametrize("place", ["taken", "link", "no/such/directory/file"])
def test_an_export_that_cannot_be_written_leaves_everything(
    server: OtlpServer, data: Path, tmp_path: Path, drain: Run, place: str
) -> None:
    leave(data, server.url, "one")
    before = tree(data)
    (tmp_path / "taken").write_text("of somebody else")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    done = drain("--export", str(tmp_path / place))

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--export" in done.stderr
    assert tree(data) == before
    assert (tmp_path / "taken").read_text() == "of somebody else"
    assert not (tmp_path / "elsewhere").exists()


def test_an_export_to_a_full_disk_leaves_everything_and_no_file(
    server: OtlpServer, data: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    leave(data, server.url, *(f"span {number}" for number in range(400)))
    before = tree(data)
    file = tmp_path / "waiting.otlp"

    # the limit on the size of files stands in for a full disk
    limited = f"ulimit -f 4; exec {' '.join(COMMAND)} --export {file}"
    done = subprocess.run(
        ["bash", "-c", limited], env=env, capture_output=True, text=True, timeout=180, check=False
    )

    assert done.returncode == 2
    assert "cannot be written (File too large)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tree(data) == before
    assert not file.exists()


def test_an_export_that_is_killed_costs_nothing(
    server: OtlpServer, data: Path, tmp_path: Path, env: dict[str, str], drain: Run
) -> None:
    expected = [f"span {number}" for number in range(3000)]
    leave(data, server.url, *expected)
    first, second = tmp_path / "first.otlp", tmp_path / "second.otlp"
    process = subprocess.Popen([*COMMAND, "--export", str(first)], env=env, stdout=subprocess.DEVNULL)
    wait_until(first.exists)
    process.kill()
    process.wait()

    drain("--export", str(second))

    written = [names(file.read_bytes()) for file in (first, second) if file.exists() and not is_torn(file)]
    assert set().union(*written) == set(expected)


def is_torn(file: Path) -> bool:
    try:
        names(file.read_bytes())
    except Exception:
        return True
    return False


def test_nothing_to_export_makes_no_file(data: Path, tmp_path: Path, drain: Run) -> None:
    done = drain("--export", str(tmp_path / "waiting.otlp"))

    assert done.returncode == 0
    assert not (tmp_path / "waiting.otlp").exists()


def test_a_damaged_record_costs_its_own_spans_and_is_said(server: OtlpServer, data: Path, drain: Run) -> None:
    path = leave(data, server.url, "one", "two", "three")
    damage(path, record=2)

    done = drain()

    assert done.returncode == 1
    assert "1 span lost: they were damaged on disk" in done.stdout
    assert counted(server) == {"one": 1, "three": 1}


def test_a_segment_that_does_not_say_whose_it_is_is_sent_on_request_only(
    server: OtlpServer, data: Path, drain: Run
) -> None:
    path = leave(data, server.url, "one")
    damage(path, record=0)

    usual = drain()
    arrived = server.requests
    retargeted = drain("--retarget")

    assert usual.returncode == 1
    assert f"{path}: it does not say whose its spans are" in usual.stdout
    assert arrived == 0
    assert retargeted.returncode == 0
    assert counted(server) == {"one": 1}


def test_a_torn_end_costs_its_record_only_and_is_said(server: OtlpServer, data: Path, drain: Run) -> None:
    path = leave(data, server.url, "one", "two")
    path.write_bytes(path.read_bytes()[: -HEADER_SIZE - 3])  # the mark of a good end, and a part of "two"

    done = drain()

    assert done.returncode == 1
    assert "1 span lost: they were damaged on disk" in done.stdout
    assert counted(server) == {"one": 1}


def test_foreign_files_are_named_and_left_alone(
    server: OtlpServer, data: Path, tmp_path: Path, drain: Run
) -> None:
    path = leave(data, server.url, "one")
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    link = path.with_name("0" * 16 + "-link.segment")
    link.symlink_to(secret)
    text = path.with_name("1" * 16 + "-text.segment")
    text.write_text("no segment")
    pipe = path.with_name("2" * 16 + "-pipe.segment")
    os.mkfifo(pipe)
    (path.parent / "notes.txt").write_text("notes")

    done = drain()

    assert done.returncode == 1
    assert counted(server) == {"one": 1}
    for file, why in ((link, "it is a link"), (text, "not a segment"), (pipe, "not a regular file")):
        assert f"{file}: {why}" in done.stdout
        assert os.path.lexists(file)
    assert (path.parent / "notes.txt").exists()
    assert secret.exists()


@pytest.mark.parametrize("depth", [1, 2, 3], ids=["unsent", "service", "spool"])
def test_no_link_to_a_directory_is_followed(
    server: OtlpServer, data: Path, tmp_path: Path, drain: Run, depth: int
) -> None:
    path = leave(data, server.url, "one")
    directory = path.parents[3 - depth]
    elsewhere = tmp_path / "elsewhere"
    directory.rename(elsewhere)
    directory.symlink_to(elsewhere)
    before = tree(elsewhere)

    done = drain()

    assert done.returncode == 1
    assert server.requests == 0
    assert f"{directory if depth < 3 else directory.parent}: " in done.stdout
    assert tree(elsewhere) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_refused(server: OtlpServer, data: Path, drain: Run) -> None:
    path = leave(data, server.url, "one")
    os.chown(path, 65534, 65534)

    done = drain()

    assert done.returncode == 1
    assert "not a regular file of this user" in done.stdout or "Operation not permitted" in done.stdout
    assert server.requests == 0


def damage(path: Path, *, record: int) -> None:
    """Change a byte of the payload of a record; number 0 describes the writer."""
    content = bytearray(path.read_bytes())
    position = -1
    for _ in range(record + 1):
        position = content.index(MARK, position + 1)
    content[position + HEADER_SIZE + 2] ^= 0xFF
    path.write_bytes(content)
