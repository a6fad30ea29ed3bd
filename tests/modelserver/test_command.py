"""The command `python -m somatrace.modelserver`."""

from __future__ import annotations

import json
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


def test_it_keeps_an_account_of_the_calls_that_it_serves(tmp_path):
    ready, account = tmp_path / "ready", tmp_path / "served.jsonl"
    process = subprocess.Popen(
        command("--port", 0, "--ready-file", ready, "--served-file", account, "--label", "order-[a-z]+"),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(ready.exists)
        url = f"{ready.read_text().strip()}/v1"
        messages = [{"role": "user", "content": "What is error E12? (order-b)"}]
        answers = [
            httpx.post(f"{url}/chat/completions", json={"model": model, "messages": messages}, timeout=HANG)
            for model in ("local-extractive", "local-extractive-429")
        ]
        options = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": "local-extractive", "messages": messages, **options}
        httpx.post(f"{url}/chat/completions", json=body, timeout=HANG)
        httpx.post(
            f"{url}/embeddings", json={"model": "local-extractive", "input": "two words"}, timeout=HANG
        )
    finally:
        process.terminate()
        process.wait(60)

    usage = answers[0].json()["usage"]
    whole = {
        "model": "local-extractive",
        "status": 200,
        "label": "order-b",
        "input": usage["prompt_tokens"],
        "output": usage["completion_tokens"],
    }
    failed = {"model": "local-extractive-429", "status": 429, "label": "order-b", "input": 0, "output": 0}
    embedded = {"model": "local-extractive", "status": 200, "label": "", "input": 2, "output": 0}
    assert list(map(json.loads, account.read_text().splitlines())) == [whole, failed, whole, embedded]


def test_a_label_that_is_no_expression_is_one_line_and_exit_code_2(tmp_path):
    arguments = command("--served-file", tmp_path / "served.jsonl", "--label", "(")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, check=False)

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
