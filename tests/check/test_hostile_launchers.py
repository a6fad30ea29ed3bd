"""Launcher files of any content get a verdict: huge, deep, not UTF-8, of wrong types, links and pipes."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.check.checking import verdict

NAMES = [
    "render.yaml", "railway.json", "railway.toml", "nixpacks.toml", "railpack.json", "fly.toml", "app.yaml",
    "apprunner.yaml", "heroku.yml", "api.service", "langgraph.json", "template.yaml", "compose.yaml",
]  # fmt: skip
MANY = 100_000
CASES = 'case "$1" in a) ' * 600 + ";; esac " * 600


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00services: [Service] ExecStart=\x80",
        b"[" * MANY,
        b'{"graphs": ' * 20_000,
        b"a: {" * 5_000,
        b"x = [" * 20_000,
        b"[Service]\nExecStart=" + b"\\\n" * MANY + b"python x.py\n",
        b"[Service]\nExecStart=" + b"/a" * MANY + b"\n",
        b"[Service]\nEnvironment=" + b'"a=' * MANY + b"\n",
        b"runtime: python312\nentrypoint: " + b"$((" * 20_000,
        b"",
        b"#" * 3_000_000,
    ],
    ids=[
        "bytes", "brackets", "objects", "mappings", "tables", "continued", "long path", "quotes",
        "arithmetic",
        "nothing", "large",
    ],
)  # fmt: skip
def test_a_file_of_any_content_gets_a_verdict(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)

    assert set(verdict(capsys, tmp_path)) <= {"ST041"}


@pytest.mark.parametrize("name", NAMES)
def test_a_launcher_that_is_a_link_out_or_a_pipe_or_a_directory_is_passed_over(tmp_path, capsys, name):
    root = tmp_path / "root"
    for folder in ("out", "pipe", "directory", "loop"):
        (root / folder).mkdir(parents=True)
    (root / "out" / name).symlink_to("/etc/passwd")
    os.mkfifo(root / "pipe" / name)
    (root / "directory" / name).mkdir()
    (root / "loop" / name).symlink_to(name)

    assert verdict(capsys, root) == []


VALUES = st.recursive(
    st.none() | st.integers(-1, 2) | st.sampled_from(["", ".", "python main.py", "./main.py:x", "..",
    "/", "$A"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "services", "projects", "environments", "startCommand", "rootDir", "runtime", "dockerCommand",
        "deploy",
        "build", "start", "cmd", "processes", "experimental", "entrypoint", "run", "web", "command",
        "graphs", "http",
        "app", "path", "dependencies", "Globals", "Function", "Resources", "Properties", "Handler", "CodeUri",
        "Metadata", "ImageConfig", "Command", "volumes", "working_dir", "environment", "image",
        "source", "target",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), value=VALUES, docker=st.booleans())
def test_values_of_any_type_get_a_verdict(tmp_path_factory, capsys, name, value, docker):
    root = tmp_path_factory.mktemp("launcher")
    text = json.dumps(value)
    if name == "template.yaml":
        text = f"# AWS::Serverless\n{text}"
    if name == "app.yaml":
        text = f"runtime: python312\nentrypoint: {text}"
    if name.endswith(".toml"):
        pairs = value.items() if isinstance(value, dict) else ()
        text = "".join(f"{key} = {_toml(one)}\n" for key, one in pairs)
    (root / name).write_text(text)
    (root / "main.py").write_text("x = 1\n")
    if docker:
        (root / "Dockerfile").write_text("FROM python\nCOPY . .\nCMD python main.py\n")

    verdict(capsys, root)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if value is not None else '"none"'


SHELL = [
    "f() {", "}", "function g {", "f", "g a", 'case "$1" in', "a)", "*)", ";;", "esac",
    "while true; do", "done", "(",
    ")", "a=(", "a+=(b)", '"${a[@]}"', '"$@"', "shift", "break", "python main.py",
    "exec python main.py &", "if x; then",
    "fi", "\n", 'cd "$(dirname "$0")"', "cat <<E", "E", "|", "x=$1", "until false; do",
]  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(SHELL), max_size=25), separator=st.sampled_from([" ", "\n"]))
def test_no_order_of_shell_syntax_crashes_the_check(tmp_path_factory, capsys, pieces, separator):
    root = tmp_path_factory.mktemp("script")
    (root / "Procfile").write_text("web: sh start.sh a b\n")
    (root / "start.sh").write_text(separator.join(pieces))
    (root / "main.py").write_text("x = 1\n")

    verdict(capsys, root)


@pytest.mark.parametrize(
    "script",
    [
        CASES,
        "a() { a; a; a; a; a; a; a; a; a; a; }\na\n",
        "".join(f"f{n}() {{ f{n + 1}; f{n + 1}; f{n + 1}; }}\n" for n in range(200)) + "f0\n",
        "f() { " * 1_500,
        "a=( " * 2_400,
        "a=(x)\n" + 'a+=("${a[@]}" "${a[@]}")\n' * 100 + 'exec "${a[@]}"\n',
        "while true; do " * 1_500 + "python main.py" + "; done" * 1_500,
        'x="$(cd "$(dirname "$0")' + "/.." * 20_000 + '" && pwd)"\npython "$x/main.py"\n',
        '$(dirname "$0' * 5_000,
    ],
    ids=["case", "recursion", "doubling", "functions", "lists", "doubled list", "loops", "folders", "open"],
)
def test_a_script_that_asks_for_exponential_time_gets_a_verdict(tmp_path, capsys, script):
    (tmp_path / "Procfile").write_text("web: sh start.sh a b\n")
    (tmp_path / "start.sh").write_text(script)
    (tmp_path / "main.py").write_text("x = 1\n")

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041"}


def test_a_large_tree_in_which_nothing_starts_a_process_gets_a_verdict(tmp_path, capsys):
    for number in range(150):
        folder = tmp_path / f"p{number}"
        folder.mkdir()
        (folder / "__init__.py").write_text("")

        other = f"from p{(number + 1) % 150}.app import app as other\n"
        (folder / "app.py").write_text(f"{other}from fastapi import FastAPI\napp = FastAPI()\n")
    (tmp_path / "deep.py").write_text("import openai\nx = " + "-" * 50_000 + "1\n")
    (tmp_path / "bytes.py").write_bytes(b"import openai\n\xff")

    assert set(verdict(capsys, tmp_path)) == {"ST001"}


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("uwsgi uwsgi.ini", {"uwsgi.ini": "[uwsgi]\n" + "attach-daemon = uwsgi uwsgi.ini\n" * 9}),
        ("uwsgi uwsgi.ini", {"uwsgi.ini": "[uwsgi]\nmount = " + "=" * MANY + "\nchdir = " + "../" * MANY}),
        ("uwsgi uwsgi.ini", {"uwsgi.ini": "[uwsgi]\n" + "a = %d%d\n" * MANY}),
        ("supervisord", {"supervisord.conf": "[program:a]\ncommand = supervisord\n" * 9}),
        ("python -c '" + "(" * 3_000 + "'", {}),
        ("python -c '" + "import x, " * 9_000 + "y'", {}),
        ("uv run " + "-s " * 9_000, {}),
        ("uv " + "--directory ../.. run uv " * 3_000 + "run main.py", {}),
    ],
    ids=["uwsgi", "mounts", "variables", "supervisord", "code", "imports", "uv", "directories"],
)
def test_a_command_that_starts_itself_or_is_very_long_gets_a_verdict(tmp_path, capsys, command, files):
    words = json.dumps(["sh", "-c", command])
    (tmp_path / "Dockerfile").write_text(f"FROM python\nWORKDIR /app\nCOPY . .\nCMD {words}\n")
    (tmp_path / "main.py").write_text("x = 1\n")
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041"}


def test_stages_that_copy_each_others_copies_get_a_verdict(tmp_path, capsys):
    stages = "".join(
        f"FROM python AS s{n + 1}\nCOPY --from=s{n} / /a{n}\nCOPY --from={n} / /b{n}\n" for n in range(250)
    )
    (tmp_path / "Dockerfile").write_text(f"FROM python AS s0\nCOPY . /app\n{stages}CMD python main.py\n")
    (tmp_path / "main.py").write_text("x = 1\n")

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041"}
