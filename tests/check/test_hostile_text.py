"""Text of the tree is shown and never acts: in a terminal, in the log of a build, or in a report."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest

from somatrace.check import foreign_text
from somatrace.check.command import main
from somatrace.check.foreign_text import shown

LINE = "app = FastAPI()  # \x1b[31m ##[stop-commands]x \u202e ##vso[task.complete]\n"
MISSING = f"from fastapi import FastAPI\n\n{LINE}"
NAMES = [
    b"\x1b[31mred",
    b"new\nline",
    b"carriage\rreturn",
    b"\xff\xfe",
    b"::error ::x",
    b"##[add-mask]y",
    b"##vso[task.complete]z",
    b"##teamcity[x]",
    "\u202ebidi".encode(),
    "\u2028separator".encode(),
    b"\xc2\x9b31m",
    b":",
    b"%0A",
    b"'\"<>&",
]
OPTIONS = [
    *(["--format", name] for name in ("full", "concise", "json", "sarif", "github", "gitlab", "junit")),
    ["--list"],
    ["--list", "--json"],
    ["--fix"],
]


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in NAMES:
        folder = tmp_path / "services" / os.fsdecode(name)
        (folder / "app").mkdir(parents=True)
        (folder / "app/main.py").write_text(MISSING)
        (folder / "Dockerfile").write_text(
            "FROM python\nWORKDIR /a\nCOPY . .\nCMD uvicorn app.main:app '\x1b]0;title\x07' ##[error]x\n"
        )
    return tmp_path


def acting(text: str) -> list[str]:
    """The lines that a terminal or a build system would act on."""
    return [
        line
        for line in text.split("\n")
        if not line.isprintable()
        or re.search(r"##\w*\[", line)
        or (line.lstrip().startswith("::") and not line.startswith("::error file="))
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_names_and_lines_of_the_tree_do_not_act(tree, capsys, options):
    main([str(tree), "--no-cache", *options])

    printed = capsys.readouterr()
    assert acting(printed.out) == []
    assert acting(printed.err) == []
    assert len(printed.out) > 1_000


@pytest.mark.parametrize("how", ["json", "sarif", "gitlab"])
def test_the_texts_in_a_json_report_do_not_act_either(tree, capsys, how):
    main([str(tree), "--no-cache", "--format", how])

    def texts(value: object) -> list[str]:
        if isinstance(value, str):
            return [value]
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [text for one in inner for text in texts(one)]

    assert [text for text in texts(json.loads(capsys.readouterr().out)) if acting(text)] == []


def test_each_fixed_file_is_one_line(tmp_path, capsys):
    folder = tmp_path / "services/orders"
    folder.mkdir(parents=True)
    (folder / "a\n::error::\x1b.py").write_text(MISSING)
    command = '["python", "a\\n::error::\\u001b.py"]'
    (folder / "Dockerfile").write_text(f"FROM python\nWORKDIR /a\nCOPY . .\nCMD {command}\n")

    assert main([str(tmp_path), "--no-cache", "--fix"]) == 0
    assert capsys.readouterr().err == "fixed services/orders/a\ufffd::error::\ufffd.py\n"


@pytest.mark.parametrize(
    "section",
    [
        '"\\u001b[31m\\n::error::x" = 1',
        'select = ["\\u001b[31m\\n::error::x ##[add-mask]y"]',
        'baseline = "\\u001b[31m\\n::error::x"',
        "x = \x1b[31m\u202e",
    ],
)
def test_errors_about_settings_are_one_line_that_does_not_act(tmp_path, capsys, section):
    (tmp_path / "pyproject.toml").write_text(f"[tool.somatrace.check]\n{section}\n")

    assert main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert acting(err) == []
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--select", "\x1b[31m\n::error::x"],
        ["--explain", "\x1b[31m\n##[error]"],
        ["--format", "\x1b[31m"],
        ["--\x1b[31m\n::x"],
        ["--output", "/no/\x1b[31m\n::x"],
        ["\x1b[31m\n::folder"],
        [os.fsdecode(b"\xff\n::folder")],
    ],
)
def test_errors_about_arguments_are_one_line_that_does_not_act(tmp_path, capsys, arguments):
    assert main([str(tmp_path), *arguments]) == 2
    err = capsys.readouterr().err
    assert acting(err) == []
    assert err.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_a_stream_without_the_characters_gets_escapes(tree, monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)

    assert main([str(tree), "--no-cache"]) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("services/orders/app/main.py", "services/orders/app/main.py"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("######## heading [1]", "######## heading [1]"),
        ("std::vector", "std::vector"),
        ("a\x1b\n\u202e\udcff", "a\ufffd\ufffd\ufffd\ufffd"),
        ("  ::error::x", "  \ufffd:error::x"),
        ("x ##[error]", "x \ufffd#[error]"),
        ("x" * 6_000, "x" * 5_000 + "..."),
    ],
)
def test_shown_text_is_the_text_without_what_acts(text, expected):
    assert shown(text) == expected


def test_json_shows_the_texts_at_every_depth():
    assert json.loads(foreign_text.as_json({"a": [("\x1b", 1, None)]})) == {"a": [["\ufffd", 1, None]]}
