"""Small files that ask for exponential time or memory get a verdict."""

from __future__ import annotations

import pytest

from somatrace.check.command import main
from somatrace.check.project import toml_reader, yaml_reader
from tests.check.checking import verdict

GOOD = "from somatrace import init_tracing\ninit_tracing('orders')\n"
MANY = 100_000
DOCKER = "FROM python\nWORKDIR /a\nCOPY . .\n"
DOUBLED = "".join(f"{{0}}A{number + 1}=$A{number}$A{number}\n" for number in range(50))
#: Each anchor repeats the one before nine times.
LISTS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
MAPS = "a0: &a0 {x: y}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{key}: *a{n - 1}' for key in range(9))}}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    "source",
    [
        "from" + " " * MANY + "x\n",
        "from " + "a " * MANY + "\n",
        "a:" + " " * MANY + "\n",
        "x = 1  # noqa: " + "ST001 " * MANY + "\n",
        "x = 1  # noqa: ST001 --" + " " * MANY + "\n",
        "a = 'x'\n" + "a = a + a\n" * 60,
        "a = [1]\n" + "a = a + a\n" * 60,
        "a = (1,)\n" + "a = (*a, *a)\n" * 60 + "f(*a)\n",
        "a = []\na.append(a)\nf(a, *a)\n",
        "a = [1]\n" + "a = [a, a, a]\n" * 60 + "f(a)\n",
        "x = 0x" + "f" * MANY + "\n",
        "x = " + "-" * MANY + "1\n",
        "import " + "a." * MANY + "a\n",
        "from " + "a.\\\n" * MANY + "a import b\n",
    ],
    ids=[
        "spaces after from", "words after from", "spaces after a colon", "codes of a noqa",
        "reason of a noqa", "doubled text", "doubled list", "doubled tuple", "list in itself", "shared lists",
        "long number", "nested signs", "long module name",
        "long module name on many lines",
    ],
)  # fmt: skip
def test_python_gets_a_verdict(tmp_path, capsys, source):
    path = tmp_path / "services/orders/main.py"
    path.parent.mkdir(parents=True)
    path.write_text(source + GOOD)

    assert set(verdict(capsys, tmp_path)) <= {"ST000", "ST041", "ST091"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Dockerfile", DOCKER + "ENV A0=xxxxxxxxxx\n" + DOUBLED.format("ENV ") + "CMD python $A50\n"),
        ("Dockerfile", DOCKER + "RUN a \\\n" * MANY + "b\nCMD python x.py\n"),
        ("Dockerfile", DOCKER + "ENV " + "a" * MANY + "\nCMD python x.py\n"),
        ("Dockerfile", DOCKER + "CMD " + "[" * MANY + "]" * MANY + "\n"),
        ("Dockerfile", DOCKER + "COPY " + "[" * MANY + "]" * MANY + "\nCMD python x.py\n"),
        ("Dockerfile", DOCKER + 'CMD ["python"' + " " * MANY + "]\n"),
        ("Dockerfile", DOCKER + "CMD " + "${a" * MANY + "\n"),
        ("Dockerfile", "FROM python\n" * 20_000 + "CMD python x.py\n"),
        ("Procfile", "web: a" + " " * MANY + "b\n"),
        ("Procfile", "web: uvicorn " + "a." * MANY + "x:app\n"),
        ("start.sh", "A0=xxxxxxxxxx\n" + DOUBLED.replace("{0}", "") + "exec python $A50\n"),
        ("start.sh", "sh start.sh\n" * 30),
        ("start.sh", ". start.sh\n" * 30),
        ("docker-compose.yml", LISTS + "services:\n  a:\n    build: {context: *a29}\n    command: *a29\n"),
        ("pod.yaml", MAPS + "kind: Pod\nspec: *a29\n#containers:\n"),
        ("serverless.yml", LISTS + "functions:\n  a:\n    handler: *a29\n"),
        ("docker-compose.yml", "a" + " " * 15_000 + "b\n"),
        ("docker-compose.yml", 'a: "x\n' + "b\n" * 19_000),
        ("docker-compose.yml", "a: [x,\n" + "b,\n" * 19_000),
        ("docker-compose.yml", "a: " + "[" * MANY),
    ],
)
def test_a_launcher_gets_a_verdict(tmp_path, capsys, name, text):
    (tmp_path / name).write_text(text)
    if name == "start.sh":
        (tmp_path / "Procfile").write_text("web: sh start.sh\n")

    assert set(verdict(capsys, tmp_path)) <= {"ST041"}


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * MANY + "]" * MANY,
        "x = " + "{a=" * 20_000,
        "x = " + "1" * 5_000,
        "a." * 2_000 + "b = 1",
        "#" * 600_000,
        "x = 9999-99-99T99:99:99Z",
    ],
    ids=["lists", "tables", "number", "dotted key", "large", "date"],
)
def test_settings_beyond_a_limit_are_one_line_of_error(tmp_path, capsys, text):
    (tmp_path / "pyproject.toml").write_text(f"[tool.somatrace.check]\n{text}\n")

    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("somatrace check: pyproject.toml cannot be read: ")
    with pytest.raises(toml_reader.UnreadableTomlError):
        toml_reader.load(f"{text}\n")


@pytest.mark.parametrize("listed", ['["a",' + '"a",' * 2_000 + "]", f'["{"*a" * 2_000}"]'])
def test_settings_hold_a_bounded_number_of_patterns(tmp_path, capsys, listed):
    (tmp_path / "pyproject.toml").write_text(f"[tool.somatrace.check]\nexclude = {listed}\n")

    assert main([str(tmp_path)]) == 2
    assert "entries" in capsys.readouterr().err


def test_aliases_that_repeat_little_are_read():
    [read] = yaml_reader.load("a: &a [x, y]\nb: {c: *a, d: *a}\n")

    assert read == {"a": ["x", "y"], "b": {"c": ["x", "y"], "d": ["x", "y"]}}
