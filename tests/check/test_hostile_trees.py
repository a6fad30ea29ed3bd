"""No content of a tree crashes the check, hangs it, or leads it out of the tree."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somatrace.check.command import main

GOOD = """from fastapi import FastAPI
from somatrace import init_tracing

init_tracing("orders")
app = FastAPI()
"""


def check(capsys, root: Path) -> list[str]:
    code = main([str(root), "--json", "--no-cache"])
    out = capsys.readouterr()
    assert out.err == ""
    assert code in {0, 1}
    return [f"{one['code']} {one['path']}:{one['line']}" for one in json.loads(out.out)]


@pytest.fixture
def app(tmp_path) -> Path:
    folder = tmp_path / "services/orders/app"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(GOOD)
    return folder


@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        b"# -*- coding: latin-1 -*-\nname = '\xe9'\n" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace("\n", "\r").encode(),
        b"\x0c\n" + GOOD.encode(),
        b"if True:\n\tx = 1\n" + GOOD.encode(),
        GOOD.encode() + b"\x1a"[:0],
        b"def f():\n" + b"    x = 1\n" * 20_000 + GOOD.encode(),
        b"x = " + b"1 + " * 900 + b"1\n" + GOOD.encode(),
        b"x = " + b"(" * 80 + b"1" + b")" * 80 + b"\n" + GOOD.encode(),
        b"import os\ny = os.sep\nif y == 'a':\n    pass\n"
        + b"".join(b"elif y == '%d':\n    pass\n" % number for number in range(900))
        + GOOD.encode(),
        b"DATA = [\n" + b"    {'a': (1, 'two', [3])},\n" * 5_000 + b"]\n" + GOOD.encode(),
    ],
    ids=[
        "bom",
        "cookie",
        "crlf",
        "cr",
        "formfeed",
        "tabs",
        "plain",
        "long",
        "sum",
        "nested",
        "elifs",
        "data",
    ],
)
def test_valid_python_is_read(app, tmp_path, capsys, source):
    (app / "main.py").write_bytes(source)

    assert check(capsys, tmp_path) == []


@pytest.mark.parametrize(
    "source",
    [
        b"def f(:\n",
        b"\xff\xfe\x00",
        b"x = '\xe9'\n",
        b"a\x00b\n",
        b"# coding: nonsense\n",
        b"  x\n y\n",
        b"x = " + b"(" * 500,
    ],
    ids=["syntax", "utf16", "encoding", "nul", "cookie", "indentation", "nesting"],
)
def test_invalid_python_is_one_finding(app, tmp_path, capsys, source):
    (app / "main.py").write_bytes(source)

    [found] = check(capsys, tmp_path)

    assert found.startswith("ST000 services/orders/app/main.py:")


STRANGE = (
    "punycode", "idna", "rot13", "zlib_codec", "unicode_escape", "raw_unicode_escape", "utf_7", "utf-16",
    "undefined", "mbcs", "cp037", "iso2022_jp", "hz", "x" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("place", ["the entrypoint", "a module without a word of interest"])
@pytest.mark.parametrize("encoding", STRANGE, ids=lambda name: name[:12])
def test_a_source_in_an_encoding_that_is_none_of_sources_is_one_finding(
    app, tmp_path, capsys, encoding, place
):
    strange = f"#!/usr/bin/python\n# -*- coding: {encoding} -*-\n".encode() + b"a-b = 1 \xff\n" * 25_000
    (app / "main.py").write_bytes(
        strange if place == "the entrypoint" else b"import app.other\n" + GOOD.encode()
    )
    (app / "other.py").write_bytes(strange)

    path = "main" if place == "the entrypoint" else "other"
    assert check(capsys, tmp_path) == [f"ST000 services/orders/app/{path}.py:2"]


@pytest.mark.parametrize(
    "encoding",
    [
        *("utf-8", "UTF_8", "utf-8-unix", "latin-1", "iso-8859-15", "cp1252", "windows-1251", "koi8-r"),
        *("ascii", "euc_jp", "euc-kr", "shift_jis", "cp932", "gbk", "gb18030", "big5", "mac_roman"),
    ],
)
def test_encodings_of_real_sources_are_read(app, tmp_path, capsys, encoding):
    (app / "main.py").write_bytes(f"# vim: set fileencoding={encoding} :\n{GOOD}".encode("ascii"))

    assert check(capsys, tmp_path) == []


@pytest.mark.parametrize("kind", ["dangling", "loop", "pipe", "unreadable", "folder"])
def test_an_unreadable_entrypoint_is_a_finding_and_never_blocks(app, tmp_path, capsys, kind):
    path = app / "main.py"
    path.unlink()
    if kind == "dangling":
        path.symlink_to("nowhere.py")
    elif kind == "loop":
        path.symlink_to("main.py")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (app / "llm.py").write_text("import openai\n")
    else:
        path.write_text(GOOD)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads every file")

    [found] = check(capsys, tmp_path)

    assert found.startswith("ST040 " if kind == "folder" else "ST000 services/orders/app/main.py:1")


def test_an_imported_module_that_is_a_pipe_or_a_dangling_link_is_named(app, tmp_path, capsys):
    (app / "main.py").write_text("import app.pipe\nfrom . import gone\n" + GOOD)
    os.mkfifo(app / "pipe.py")
    (app / "gone.py").symlink_to("nowhere")

    assert check(capsys, tmp_path) == [
        "ST000 services/orders/app/gone.py:1",
        "ST000 services/orders/app/pipe.py:1",
    ]


def test_loops_of_links_and_directories_named_like_files_change_nothing(app, tmp_path, capsys):
    (app / "again").symlink_to(app.parent, target_is_directory=True)
    (tmp_path / "services/self").symlink_to(tmp_path, target_is_directory=True)
    (app / "helpers.py").mkdir()
    for name in ("Dockerfile", "Procfile", "docker-compose.yml", "pyproject.toml", "supervisord.conf"):
        (tmp_path / name).mkdir()
    os.mkfifo(app / "Dockerfile")

    assert check(capsys, tmp_path) == []


def test_an_import_never_leads_out_of_the_tree(app, tmp_path, capsys):
    root = tmp_path / "services"
    (tmp_path / "outside.py").write_text("def f(:\n")
    (app / "main.py").write_text("from ....... import outside\nimport outside\n" + GOOD)

    assert "outside" not in str(check(capsys, root))


@pytest.mark.parametrize(
    "text",
    [
        "from app.main import f\n\ndef f():\n    return f()\n\nf()\n",
        "def a(): return b()\ndef b(): return a()\na()\n",
        "class A:\n    def __init__(self): A()\nA()\n",
        "f = lambda: f()\nf()\n",
        "class A(A): pass\n",
        "import app.main\nimport app\nfrom app import *\nfrom app.main import *\n",
        "x = [x for x in x for x in x]\n",
        "def d(f): return d\n@d\n@d\ndef g(): yield g()\nfor _ in g(): g()\n",
        "while True:\n    while True:\n        while True:\n            pass\n",
        "a = a.b = a\na.a.a.a()\n",
        "for a in [1] * 10**9:\n    for b in range(10**9):\n        pass\n",
        "del x\nglobal y\nnonlocal_ = 1\nraise\n",
        "async def m():\n    await m()\nimport asyncio\nasyncio.run(m())\n",
        "with f() as (a, *b), g() as c[0]: pass\n",
        "match x:\n    case {'a': [1, *_]} | None: pass\n",
        "f(*f, **f)(*[f])[f](f=f)\n",
        "try:\n    pass\nexcept* ValueError:\n    pass\n",
    ],
)
def test_endless_recursion_gets_a_verdict(app, tmp_path, capsys, text):
    (app / "main.py").write_text(text)

    assert len(check(capsys, tmp_path)) == 1


def test_exponential_calls_stop_at_the_step_limit(app, tmp_path, capsys):
    calls = "".join(f"def f{n}():\n    f{n - 1}()\n    f{n - 1}()\n" for n in range(1, 40))
    (app / "main.py").write_text(f"def f0(): pass\n{calls}f39()\n{GOOD}")

    [found] = check(capsys, tmp_path)

    assert found == "ST041 services/orders/app/main.py:1"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(
        [
            "Dockerfile",
            "Procfile",
            "docker-compose.yml",
            "supervisord.conf",
            "pyproject.toml",
            "serverless.yml",
            "k8s.yaml",
            "start.sh",
        ]
    ),
    text=st.text(
        alphabet=st.sampled_from(
            list(" \n\t\"'$(){}[]|&;<>\\-:#*!,=abkindcontainersCMDENTRYPOINTFROMpython")
        ),
        max_size=200,
    ),
)
def test_no_launcher_text_crashes_the_check(tmp_path_factory, capsys, name, text):
    root = tmp_path_factory.mktemp("launcher")
    (root / name).write_text(text)
    (root / "Procfile" if name == "start.sh" else root / "start.sh").write_text("web: sh start.sh\n")

    check(capsys, root)


PIECES = [
    "init_tracing('a')", "from somatrace import init_tracing", "import app.other", "if x:",
    "else:", "try:", "except ImportError:", "finally:", "while True:", "for i in y:", "return",
    "break", "raise", "def f(a=1, *b, **c):", "class C(f):", "@f", "yield 1", "await f()", "f()",
    "x = f", "with f() as g:", "pass", "lambda: f()", "del f", "global f", "sys.exit()",
    "import sys", "C().f()", "f = init_tracing", "async def g():", "match f:", "case _:",
    "asyncio.run(g())",
]  # fmt: skip


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(PIECES)), max_size=25))
def test_no_program_crashes_the_check(tmp_path_factory, capsys, lines):
    root = tmp_path_factory.mktemp("program")
    folder = root / "services/orders/app"
    folder.mkdir(parents=True)
    text = "".join("    " * indent + piece + "\n" for indent, piece in lines)
    (folder / "main.py").write_text(text)
    (folder / "other.py").write_text("from app.main import *\n" + text)

    check(capsys, root)


def test_a_server_that_restarts_itself_forever_is_followed_once(capsys, app):
    (app / "main.py").write_text('import uvicorn\nuvicorn.run("app.main:app", workers=4)\n' + GOOD)
    (app.parent / "Dockerfile").write_text("FROM python\nWORKDIR /srv\nCOPY . .\nCMD python app/main.py\n")

    main([str(app.parents[2]), "--list", "--json", "--no-cache"])

    listed = json.loads(capsys.readouterr().out)
    assert [one["entrypoint"] for one in listed] == ["services/orders/app/main.py"] * 2


@pytest.mark.parametrize(
    "name",
    [
        "dockerfile_lint.py",
        "test-dockerfile.md",
        "Dockerfile.dockerignore",
        "my-dockerfile.json",
        "dockerfiles",
    ],
)
def test_a_file_about_dockerfiles_is_none(app, tmp_path, capsys, name):
    (tmp_path / name).write_text("from typing import Any\ncmd = 'it is \"open\n")

    assert check(capsys, tmp_path) == []


@pytest.mark.parametrize(
    "script",
    [
        "bash <<A\n" * 2000,
        "cat <<A " * 2400,
        "$((" * 100_000,
        "echo x >" + " " * 200_000,
        "cat <<A\n" + "\tA\n" * 100_000,
        "a " * 6000,
        "((" + "x" * 100_000 + "<<",
    ],
    ids=["nested", "many", "open", "spaces", "long", "words", "arithmetic"],
)
def test_a_script_that_cannot_be_followed_is_one_finding(app, tmp_path, capsys, script):
    (tmp_path / "Procfile").write_text("web: sh start.sh\n")
    (tmp_path / "start.sh").write_text(script)
    dockerfile = f"FROM python\nRUN {script}"
    (tmp_path / "Dockerfile").write_text(dockerfile)

    found = check(capsys, tmp_path)

    assert all(one.startswith("ST041 ") for one in found)
    assert any(one.startswith("ST041 start.sh:") for one in found) or script.startswith(("$((", "echo"))
