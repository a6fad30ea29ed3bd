"""The command: exit codes, settings, suppressions, baseline, cache, list, fix."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from somatrace.check.command import main
from somatrace.check.rules.catalogue import RULES

ROOT = Path(__file__).resolve().parents[2]
GOOD = """from fastapi import FastAPI
from somatrace import init_tracing

init_tracing("orders")
app = FastAPI()
"""
MISSING = "from fastapi import FastAPI\n\napp = FastAPI()\n"
FLAG = (
    "import os\nfrom fastapi import FastAPI\nfrom somatrace import init_tracing\n\n"
    'if os.getenv("TRACING"):\n    init_tracing("orders")\napp = FastAPI()\n'
)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def service(root: Path, text: str, name: str = "orders") -> Path:
    path = root / "services" / name / "app" / "main.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def found(capsys, root: Path, *arguments: str) -> list[str]:
    _, out, _ = run(capsys, root, "--json", *arguments)
    return [one["code"] for one in json.loads(out)]


# -- exit codes and start -------------------------------------------------------------------------


def test_exit_code_is_0_if_traced_1_with_findings_2_on_errors(tmp_path, capsys):
    assert run(capsys, tmp_path)[0] == 0
    service(tmp_path, MISSING)
    assert run(capsys, tmp_path)[0] == 1
    assert run(capsys, tmp_path / "nowhere")[0] == 2


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "somatrace", "check"],
        [sys.executable, "-m", "somatrace.check"],
        [sys.executable, "ci/check_entrypoints.py"],
    ],
    ids=["command", "module", "script"],
)
def test_the_project_s_own_services_are_traced(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)

    assert done.stdout.endswith("4 processes: every one is traced\n"), done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.usefixtures("unmeasured")
def test_the_check_imports_neither_opentelemetry_nor_traceloop_nor_typer_nor_a_network_client():
    code = (
        "import sys; from somatrace.check.command import main; main(['services', '--no-cache']); "
        "print(*sys.modules, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=180, check=True
    )

    assert not {"opentelemetry", "traceloop", "typer", "http.client", "socket", "ssl"} & set(
        done.stderr.split()
    )


def test_the_check_runs_nothing_from_the_tree(tmp_path, capsys):
    flag = tmp_path / "ran"
    service(tmp_path, f"open({str(flag)!r}, 'w').close()\n" + GOOD)
    (tmp_path / "sitecustomize.py").write_text(f"open({str(flag)!r}, 'w').close()\n")

    assert run(capsys, tmp_path)[0] == 0
    assert not flag.exists()


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--format", "xml"], "invalid choice: 'xml'"),
        (["--selekt", "ST001"], "--selekt"),
        (["--explain", "ST999"], "ST091"),
        (["--select", "ST77"], "ST77"),
        (["--output", "/no/such/folder/file"], "/no/such/folder/file"),
    ],
)
def test_bad_arguments_print_one_line_and_exit_with_2(tmp_path, capsys, arguments, printed):
    code, out, err = run(capsys, tmp_path, *arguments)

    assert (code, out) == (2, "")
    assert printed in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("section", "printed"),
    [
        ('exclud = ["a"]', "did you mean `exclude`"),
        ("exclude = 3", "exclude must be a list of strings"),
        ('select = ["ST01", "XX"]', "no rule matches `XX`"),
        ("baseline = 1", "baseline must be the path of a file"),
        ('per-file-ignores = ["a"]', "per-file-ignores must be a table"),
        ('baseline = "gone.json"', "does not exist"),
        ("exclude = [", "pyproject.toml cannot be read"),
    ],
)
def test_invalid_settings_print_one_line_and_exit_with_2(tmp_path, capsys, section, printed):
    (tmp_path / "pyproject.toml").write_text(f"[tool.somatrace.check]\n{section}\n")

    code, _, err = run(capsys, tmp_path)

    assert code == 2
    assert printed in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("code", RULES)
def test_every_code_is_explained(code, capsys):
    assert run(capsys, "--explain", code)[1].startswith(f"{code} ({RULES[code].name})")


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.code)
def test_the_broken_example_breaks_its_rule_and_the_kept_one_keeps_it(rule, tmp_path, capsys):
    for number, text in enumerate((rule.broken, rule.kept)):
        written(tmp_path / str(number), text)

    assert found(capsys, tmp_path / "0") == [rule.code]
    assert found(capsys, tmp_path / "1") == []


def written(root: Path, example: str) -> None:
    """The files of an example: each below a comment that names it, or the one of a service."""
    _, *parts = re.split(r"^# (\S*/\S+|Procfile|app\.py)\n", example, flags=re.MULTILINE)
    for path, text in zip(parts[::2], parts[1::2], strict=True):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    if not parts:
        service(root, example)


# -- output ---------------------------------------------------------------------------------------


def test_a_finding_shows_problem_place_and_remedy(tmp_path, capsys):
    service(tmp_path, MISSING)
    (tmp_path / "services/orders/Dockerfile").write_text(
        "FROM python\nWORKDIR /a\nCOPY . .\nCMD uvicorn app.main:app\n"
    )

    out = run(capsys, tmp_path)[1]

    assert out == (
        "ST001 `uvicorn app.main:app` never calls `init_tracing`, so nothing in this process is traced\n"
        "  --> services/orders/app/main.py:1:1\n"
        "  |\n"
        "1 | from fastapi import FastAPI\n"
        "  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  via services/orders/Dockerfile:4: uvicorn app.main:app\n"
        '  help: put `init_tracing("<name>")` at the top level of services/orders/app/main.py, '
        "after its imports and before any model client\n\n"
        "1 process: 1 finding\n"
    )


def test_text_from_the_tree_cannot_color_the_terminal(tmp_path, capsys):
    service(tmp_path, "x = '\x1b[31m\u202e'; app = FastAPI()\n")

    out = run(capsys, tmp_path)[1]

    assert "\x1b" not in out
    assert "\u202e" not in out


def test_the_list_shows_every_process_and_its_name(tmp_path, capsys):
    service(tmp_path, GOOD)
    service(tmp_path, MISSING, "quotes")

    text, listed = (
        run(capsys, tmp_path, "--list")[1],
        json.loads(run(capsys, tmp_path, "--list", "--json")[1]),
    )

    assert text.splitlines()[0] == (
        'services/orders  services/orders/app/main.py  convention  "orders" in services/orders/app/main.py:4'
    )
    assert [(one["service"], one["service_name"], one["codes"]) for one in listed] == [
        ("services/orders", "orders", []),
        ("services/quotes", "", ["ST001"]),
    ]


# -- settings, suppressions, baseline -------------------------------------------------------------


def test_codes_are_selected_and_ignored_by_prefix(tmp_path, capsys):
    service(tmp_path, MISSING + "# x\nimport langfuse\nlangfuse.Langfuse()\n")

    assert found(capsys, tmp_path) == ["ST001", "ST030"]
    assert found(capsys, tmp_path, "--select", "ST03") == ["ST030"]
    assert found(capsys, tmp_path, "--ignore", "ST03") == ["ST001"]
    (tmp_path / "pyproject.toml").write_text(
        '[tool.somatrace.check.per-file-ignores]\n"services/orders/**" = ["ST001"]\n'
    )
    assert found(capsys, tmp_path) == ["ST030"]


def test_excluded_directories_are_not_read_and_configured_entrypoints_are(tmp_path, capsys):
    service(tmp_path, MISSING)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/nightly.py").write_text("print()\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.somatrace.check]\nexclude = ["services"]\nentrypoints = ["jobs/nightly.py"]\n'
    )

    _, out, _ = run(capsys, tmp_path, "--json")

    assert [one["path"] for one in json.loads(out)] == ["jobs/nightly.py"]


def test_a_wrapper_of_another_package_counts_when_it_is_configured(tmp_path, capsys):
    service(tmp_path, 'from acme.bootstrap import start\nstart("orders")\napp = FastAPI()\n')
    assert found(capsys, tmp_path) == ["ST001"]

    (tmp_path / "pyproject.toml").write_text('[tool.somatrace.check]\nwrappers = ["acme.bootstrap.start"]\n')

    assert found(capsys, tmp_path) == []


def test_a_stale_suppression_is_a_finding(tmp_path, capsys):
    service(tmp_path, GOOD.replace('("orders")', '("orders")  # noqa: ST003 -- was a flag'))

    assert found(capsys, tmp_path) == ["ST091"]


def test_a_baseline_accepts_a_finding_wherever_its_line_moves(tmp_path, capsys):
    path = service(tmp_path, FLAG)
    (tmp_path / "pyproject.toml").write_text('[tool.somatrace.check]\nbaseline = "baseline.json"\n')

    assert run(capsys, tmp_path, "--write-baseline", "baseline.json")[0] == 0
    path.write_text("# moved\n" * 7 + FLAG)
    assert found(capsys, tmp_path) == []
    service(tmp_path, MISSING, "quotes")
    assert found(capsys, tmp_path) == ["ST001"]
    path.write_text(GOOD)
    assert found(capsys, tmp_path) == ["ST091", "ST001"]


# -- cache ----------------------------------------------------------------------------------------


def test_the_cache_follows_every_change(tmp_path, capsys):
    path = service(tmp_path, MISSING)
    for text, expected in ((MISSING, ["ST001"]), (GOOD, []), (FLAG, ["ST003"]), (GOOD, [])):
        path.write_text(text)
        assert found(capsys, tmp_path) == expected
        assert found(capsys, tmp_path) == expected

    (path.parent / "__init__.py").write_text("raise SystemExit\n")
    assert found(capsys, tmp_path) == ["ST002"]
    assert (tmp_path / ".somatrace_cache" / ".gitignore").read_text() == "*\n"


def test_a_recently_changed_file_is_read_again_despite_equal_size_and_time(tmp_path, capsys):
    path = service(tmp_path, GOOD)
    assert found(capsys, tmp_path) == []
    changed = path.stat().st_mtime_ns

    path.write_text(GOOD.replace("init_tracing(", "init_tracinG("))
    os.utime(path, ns=(changed, changed))

    assert found(capsys, tmp_path) == ["ST001"]


def test_a_cache_with_a_wrong_signature_is_ignored(tmp_path, capsys, monkeypatch, tmp_path_factory):
    path = service(tmp_path, GOOD)
    assert found(capsys, tmp_path) == []
    held = tmp_path / ".somatrace_cache" / "check.json"
    body = json.loads(held.read_bytes().partition(b"\n")[2])
    path.write_text(MISSING)
    os.utime(path, ns=(1, 1))
    name = "services/orders/app/main.py"
    body["files"][name] = [len(MISSING), 1, body["files"][name][2]]
    held.write_bytes(b"0" * 64 + b"\n" + json.dumps(body).encode())

    assert found(capsys, tmp_path) == ["ST001"]


@pytest.mark.parametrize("broken", [b"", b"{", b"\xff\n\xff", b"x\n[]"])
def test_a_broken_cache_is_ignored(tmp_path, capsys, broken):
    service(tmp_path, MISSING)
    (tmp_path / ".somatrace_cache").mkdir()
    (tmp_path / ".somatrace_cache" / "check.json").write_bytes(broken)

    assert found(capsys, tmp_path) == ["ST001"]


def test_a_tree_without_a_writable_cache_is_checked(tmp_path, capsys):
    service(tmp_path, MISSING)
    (tmp_path / ".somatrace_cache").write_text("a file")

    assert found(capsys, tmp_path) == ["ST001"]


# -- fix ------------------------------------------------------------------------------------------


IMPORTS = b'"""Doc."""\n\nimport os  # why\nfrom fastapi import FastAPI\n'
OURS = b"from somatrace import init_tracing\n"
CALL = b'\ninit_tracing("orders")\n\n'
APP = b"app = FastAPI()\n"
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (IMPORTS + b"\n\n" + APP, IMPORTS + OURS + CALL + APP),
        (
            BOM + (IMPORTS + APP).replace(b"\n", b"\r\n"),
            BOM + (IMPORTS + OURS + CALL + APP).replace(b"\n", b"\r\n"),
        ),
        (IMPORTS + OURS + b"\n" + APP, IMPORTS + OURS + CALL + APP),
    ],
    ids=["plain", "bom and crlf", "imported already"],
)
def test_fix_adds_the_missing_call_and_nothing_else(tmp_path, capsys, before, after):
    path = service(tmp_path, "")
    path.write_bytes(before)

    code, _, err = run(capsys, tmp_path, "--fix")

    assert path.read_bytes() == after
    assert (code, err) == (0, "fixed services/orders/app/main.py\n")
    assert run(capsys, tmp_path, "--fix")[0] == 0
    assert path.read_bytes() == after


@pytest.mark.parametrize(
    "text",
    [
        "from app.llm import client\napp = FastAPI()\n",
        "# -*- coding: latin-1 -*-\nimport os\napp = FastAPI()\n",
        "import os; app = FastAPI()\n",
        FLAG,
    ],
    ids=["a client comes first", "another encoding", "no line of its own", "not missing"],
)
def test_fix_leaves_unclear_cases_alone(tmp_path, capsys, text):
    path = service(tmp_path, text)
    (path.parent / "llm.py").write_text("import openai\nclient = openai.OpenAI()\n")

    code, _, err = run(capsys, tmp_path, "--fix")

    assert path.read_text() == text
    assert code == 1
    late = "services/orders/app/main.py: a call there would cause ST005 at services/orders/app/llm.py:2"
    assert err == (f"not fixed {late}\n" if "llm" in text else "")
