"""The command `python -m somatrace.modelserver`."""

from __future__ import annotations

import subprocess
import sys

import httpx

from tests.support.waiting import HANG, wait_until


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "somatrace.modelserver", *map(str, arguments)]


def test_it_prints_its_url_in_one_line_and_writes_the_ready_file(tmp_path):
    ready = tmp_path / "ready"
    process = subprocess.Popen(command("--port", 0, "--ready-file", ready), stdout=subprocess.PIPE, text=True)
    try:
        wait_until(ready.exists)
        url = ready.read_text().strip()

        assert httpx.get(f"{url}/v1/models", timeout=HANG).json()["data"][0]["id"] == "local-extractive"
        assert process.stdout.readline().strip().endswith(f"{url}/v1")
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_invalid_input_prints_one_line_and_exits_with_2(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()

    for arguments in (("--port", 70_000), ("--api-key-file", tmp_path / "absent"), ("--api-key-file", empty)):
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=180, check=False)

        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "--" in done.stderr
