"""The CI script works as the jobs of docs/ci.md run it, and the jobs are valid for their CI systems."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.otlp_server import otlp_server

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text()
GITHUB, GITLAB = (
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
)
SMOKE = "python ci/trace_smoke.py --timeout 60 --report trace-smoke.json"


def trace_smoke(*arguments: str, env: dict[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(ROOT / "ci" / "trace_smoke.py"),
            "--timeout",
            "120",
            *arguments,
        ],  # the last counts
        env={**os.environ, **env},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_the_command_of_both_jobs_succeeds_against_a_backend_and_writes_its_report(backend, tmp_path):
    for script in (
        [step["run"] for step in GITHUB["jobs"]["observability-smoke"]["steps"] if "run" in step],
        GITLAB["observability-smoke"]["script"],
    ):
        assert script[-1] == SMOKE
    arguments = shlex.split(SMOKE)[2:]

    env = {**backend.env, "SOMATRACE_TARGET": "langfuse"}
    done = trace_smoke(*arguments, "--timeout", "240", env=env, directory=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "trace-smoke.json").read_text())["outcome"] == "ok"


def test_both_jobs_fail_when_a_secret_is_missing(tmp_path):
    job, gitlab = GITHUB["jobs"]["observability-smoke"], GITLAB["observability-smoke"]
    for target in (job["env"]["SOMATRACE_TARGET"], gitlab["variables"]["SOMATRACE_TARGET"]):
        done = trace_smoke(env={"SOMATRACE_TARGET": target}, directory=tmp_path)
        assert done.returncode == 2, done.stdout


@pytest.mark.slow
def test_a_backend_without_a_read_api_exits_with_17_unless_allowed(tmp_path):
    with otlp_server() as server:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}
        assert trace_smoke(env=env, directory=tmp_path).returncode == 17
        assert trace_smoke("--allow-unverifiable", env=env, directory=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", [["--timeout", "x"], ["--timeout", "0"], ["--env-file", "/no/such"]])
def test_invalid_input_exits_with_2_without_a_traceback(arguments, tmp_path):
    done = trace_smoke(*arguments, env={}, directory=tmp_path)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("job", "schema"), [(GITHUB, "github-workflows"), (GITLAB, "gitlab-ci")], ids=["github", "gitlab"]
)
def test_the_jobs_match_the_published_schemas(job, schema):
    jsonschema = pytest.importorskip("jsonschema")
    package = importlib.util.find_spec("check_jsonschema")
    if package is None or not package.submodule_search_locations:
        pytest.skip("check-jsonschema, which ships the schemas of both CI systems, is not installed")
    [place] = package.submodule_search_locations
    published = json.loads((Path(place) / "builtin_schemas" / "vendor" / f"{schema}.json").read_text())
    # YAML 1.1 reads the key `on` as true
    document = {("on" if key is True else key): value for key, value in job.items()}

    errors = list(jsonschema.validators.validator_for(published)(published).iter_errors(document))

    assert [error.message for error in errors] == []


def test_the_github_workflow_has_least_privilege():
    assert set(GITHUB) == {"name", True, "permissions", "jobs"}
    assert set(GITHUB[True]) == {"push", "schedule", "workflow_dispatch"}
    assert GITHUB["permissions"] == {"contents": "read"}
    [job] = GITHUB["jobs"].values()
    assert set(job) == {"runs-on", "timeout-minutes", "env", "steps"}
    assert all(set(step) <= {"uses", "with", "run", "if"} for step in job["steps"])
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_the_gitlab_job_has_only_job_keys():
    [job] = GITLAB.values()
    assert set(job) == {"stage", "image", "timeout", "rules", "variables", "script", "artifacts"}
    assert all(isinstance(line, str) for line in job["script"])
    assert all(set(rule) == {"if"} for rule in job["rules"])


@pytest.mark.parametrize("arguments", [["--timeout", "soon"], ["--report", "nowhere/report.json"]])
def test_bad_input_of_the_script_is_2_before_anything_is_sent(backend, tmp_path, arguments):
    done = trace_smoke(*arguments, env=backend.env, directory=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[0] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert backend.asked == []


def test_the_script_keeps_its_exit_code_when_its_output_is_closed(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, str(ROOT / "ci" / "trace_smoke.py")],
        env={**os.environ, "SOMATRACE_TARGET": "none"},
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=180,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (2, b"")
