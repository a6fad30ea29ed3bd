"""Files of tasks, recipes and container services of any content get a verdict within bounds."""

from __future__ import annotations

import json

import pytest

from tests.check.checking import verdict

MANY = 100_000
RUNNERS = {
    "Makefile": "make run",
    "justfile": "just run",
    "package.json": "npm run run",
    "poe_tasks.toml": "poe run",
    "Pipfile": "pipenv run run",
    "pixi.toml": "pixi run run",
    "hatch.toml": "hatch run run",
    "Taskfile.yml": "task run",
}
DOUBLING = "".join(f"V{n} = {f'$(V{n + 1}) ' * 200}\n" for n in range(20)) + "run:\n\tpython $(V0) main.py\n"
FAN = "".join(f"a{n}: {' '.join(f'a{m}' for m in range(200))}\n" for n in range(200)) + "run: a0\n"
CONDITIONS = 'if [ "$1" = a ]; then\n' * 600 + "python main.py\n" + "fi\n" * 600


def image(root, command: str) -> None:
    (root / "Dockerfile").write_text(f"FROM python:3.12\nCOPY . .\nCMD {json.dumps(command.split())}\n")
    (root / "main.py").write_text("print('serving')\n")


@pytest.mark.parametrize("name", RUNNERS)
@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00run:\x80",
        b"[" * MANY,
        b'{"scripts": ' * 20_000,
        b"run: " + b"a " * MANY,
        b"run " + b"a=b " * MANY + b":\n    python main.py\n",
        b"run:\n" + b"\tpython main.py \\\n" * 20_000,
        b"[tool.poe.tasks]\nrun = " + b"[" * 20_000,
        b"",
        b"#" * 3_000_000,
    ],
    ids=["bytes", "brackets", "objects", "needed", "parameters", "continued", "lists", "nothing", "large"],
)
def test_a_file_of_tasks_of_any_content_gets_a_verdict(tmp_path, capsys, name, content):
    image(tmp_path, RUNNERS[name])
    (tmp_path / name).write_bytes(content)

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041", "ST042"}


@pytest.mark.parametrize(
    "text", [DOUBLING, FAN], ids=["variables that double", "targets that need each other"]
)
def test_what_multiplies_in_a_makefile_is_bounded(tmp_path, capsys, text):
    image(tmp_path, "make run")
    (tmp_path / "Makefile").write_text(text)

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041", "ST042"}


def test_tasks_that_refer_to_each_other_are_bounded(tmp_path, capsys):
    image(tmp_path, "poe run")
    names = [f"t{number}" for number in range(40)]
    tasks = "".join(f"{name} = {json.dumps(names)}\n" for name in names)
    (tmp_path / "pyproject.toml").write_text(f"[tool.poe.tasks]\nrun = {json.dumps(names)}\n{tasks}")

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041", "ST042"}


def test_nested_conditions_on_the_arguments_are_bounded(tmp_path, capsys):
    image(tmp_path, "sh start.sh b")
    (tmp_path / "start.sh").write_text(CONDITIONS)

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041", "ST042"}


def test_container_services_that_lead_out_of_the_tree_are_passed_over(tmp_path, capsys):
    root = tmp_path / "root"
    service = root / "etc" / "services.d" / "orders"
    service.mkdir(parents=True)
    (service / "run").symlink_to("/etc/passwd")
    (root / "Dockerfile").write_text('FROM python:3.12\nCOPY . /\nENTRYPOINT ["/init"]\n')
    (root / "main.py").write_text("print('serving')\n")

    assert set(verdict(capsys, root)) <= {"ST041", "ST042"}


@pytest.mark.parametrize(
    "text", ["printf '%s" + "%s" * 20_000, "echo " + "\\\\n" * MANY, "printf '%b' " + "x " * MANY]
)
def test_what_a_run_prints_is_bounded(tmp_path, capsys, text):
    (tmp_path / "Dockerfile").write_text(
        f"FROM python:3.12\nCOPY . .\nRUN {text} > /start.sh\nCMD /start.sh\n"
    )
    (tmp_path / "main.py").write_text("print('serving')\n")

    assert set(verdict(capsys, tmp_path)) <= {"ST001", "ST041", "ST042"}
