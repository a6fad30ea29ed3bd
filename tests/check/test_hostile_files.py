"""The check reads and writes only regular files inside the tree, whatever its links say."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from somatrace.check.command import main
from somatrace.check.project.contained_files import UnreadableFileError, read_file, write_file

GOOD = (
    "from fastapi import FastAPI\nfrom somatrace import init_tracing\n\n"
    'init_tracing("orders")\napp = FastAPI()\n'
)
MISSING = "from fastapi import FastAPI\n\napp = FastAPI()\n"
SECRET = "the-secret-of-another-directory"


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def outside(tmp_path) -> Path:
    """A directory beside the tree, with things that the tree links to."""
    folder = tmp_path / "outside"
    (folder / "app").mkdir(parents=True)
    (folder / "app/main.py").write_text(MISSING)
    (folder / "precious").write_text("precious")
    (folder / "secret").write_text(f"{SECRET} (\n")
    (folder / "secret.toml").write_text(f"[tool.somatrace.check]\n{SECRET} = 1\n")
    os.mkfifo(folder / "pipe")
    with (folder / "huge").open("wb") as file:
        file.truncate(1 << 40)
    return folder


@pytest.fixture
def tree(tmp_path) -> Path:
    root = tmp_path / "tree"
    (root / "services/orders/app").mkdir(parents=True)
    (root / "services/orders/app/main.py").write_text(MISSING)
    return root


def content(folder: Path) -> dict[str, bytes]:
    """Every small file of a directory, with its bytes."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "huge" and not path.is_symlink()
    }


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "huge", "secret", "secret.toml"])
def test_settings_behind_a_link_out_of_the_tree_are_one_line_of_error(tree, outside, capsys, target):
    link(tree / "pyproject.toml", outside / target)

    code = main([str(tree)])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert (
        printed.err
        == "somatrace check: pyproject.toml cannot be read: it leads out of the tree, or nowhere\n"
    )


@pytest.mark.parametrize("target", ["/dev/zero", "pipe", "huge", "secret"])
def test_a_baseline_behind_a_link_out_of_the_tree_is_one_line_of_error(tree, outside, capsys, target):
    (tree / "pyproject.toml").write_text('[tool.somatrace.check]\nbaseline = "accepted.json"\n')
    link(tree / "accepted.json", outside / target)

    code = main([str(tree)])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert "accepted.json cannot be read" in printed.err


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_settings_that_are_no_small_regular_file_are_one_line_of_error(tree, capsys, kind):
    path = tree / "pyproject.toml"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)

    assert main([str(tree)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    "path",
    [
        "services/orders/app/main.py",
        "services/orders/app/lib.py",
        "Dockerfile",
        "Procfile",
        "docker-compose.yml",
    ],
)
def test_no_line_of_a_file_outside_the_tree_is_shown(tree, outside, capsys, path):
    (tree / "services/orders/app/main.py").write_text("import app.lib\n" + GOOD)
    link(tree / path, outside / "secret")

    main([str(tree)])

    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err


def test_an_entrypoint_outside_the_tree_cannot_be_read(tree, outside, capsys):
    link(tree / "services/orders/app/main.py", outside / "app/main.py")

    main([str(tree), "--json"])

    [found] = json.loads(capsys.readouterr().out)
    assert found["code"] == "ST000"
    assert "it leads out of the tree" in found["message"]


def test_a_link_inside_the_tree_is_read(tree, capsys):
    (tree / "shared.py").write_text(GOOD)
    link(tree / "services/orders/app/main.py", "../../../shared.py")

    assert main([str(tree)]) == 0, capsys.readouterr()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ".", "", "nul\\u0000"])
def test_an_entrypoint_setting_names_a_file_below_the_root(tree, capsys, name):
    (tree / "pyproject.toml").write_text(f'[tool.somatrace.check]\nentrypoints = ["{name}"]\n')

    assert main([str(tree)]) == 2
    assert "below the root" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["", ".", "..", "../outside/secret", "a//b", "nul\0", "x/" * 9_000 + "x"])
def test_a_path_that_is_not_plain_is_not_read(tree, outside, path):
    with pytest.raises(UnreadableFileError):
        read_file(str(tree), path)


def test_a_directory_that_becomes_a_link_while_the_check_runs_is_not_followed(tree, outside):
    link(tree / "app", outside / "app")

    with pytest.raises(UnreadableFileError):
        read_file(str(tree), "app/main.py")
    with pytest.raises(OSError, match="not followed"):
        write_file(str(tree), "app/main.py", b"x")


# -- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (".somatrace_cache", "app"),
        (".somatrace_cache", "new"),
        (".somatrace_cache/.gitignore", "precious"),
        (".somatrace_cache/.gitignore", "new"),
        (".somatrace_cache/check.json", "precious"),
    ],
)
def test_the_cache_is_not_written_through_a_link(tree, outside, capsys, path, target):
    link(tree / path, outside / target)
    before = content(outside)

    assert main([str(tree)]) == 1
    assert content(outside) == before
    assert not (outside / "new").exists()


@pytest.mark.parametrize(
    "case",
    [
        ("accepted.json", "precious", "accepted.json"),
        ("accepted.json", "new", "accepted.json"),
        ("folder", "app", "folder/accepted.json"),
        ("folder", ".", "folder/app/main.py"),
    ],
)
@pytest.mark.parametrize("option", ["--write-baseline", "--output"])
def test_reports_and_baselines_are_not_written_through_a_link(tree, outside, monkeypatch, case, option):
    path, target, written = case
    link(tree / path, outside / target)
    before = content(outside)
    monkeypatch.chdir(tree)

    assert main([".", option, written]) == 2
    assert content(outside) == before


@pytest.mark.parametrize(
    "name", ["../accepted.json", "/etc/accepted.json", "folder/../../accepted.json", "."]
)
def test_a_baseline_is_written_below_the_root_only(tree, capsys, name):
    assert main([str(tree), "--write-baseline", name]) == 2
    assert "is not below" in capsys.readouterr().err
    assert not (tree.parent / "accepted.json").exists()


def test_a_report_goes_where_the_user_says(tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    for name in ("report.json", str(tmp_path / "absolute.json"), "tree/inside.json"):
        assert main([str(tree), "--format", "json", "--output", name]) == 1
        assert json.loads(Path(name).read_text())
    assert main([str(tree), "--output", "/dev/null"]) == 1


@pytest.mark.parametrize(
    "linked", ["services", "services/orders", "services/orders/app", "services/orders/app/main.py"]
)
def test_fix_does_not_follow_a_link(tree, outside, capsys, linked):
    target = outside / "target"
    (tree / linked).rename(target)
    link(tree / linked, target)
    (tree / "Procfile").write_text("web: python services/orders/app/main.py\n")
    before = content(outside)

    main([str(tree), "--fix"])

    assert content(outside) == before


def test_fix_leaves_other_hard_links_and_the_mode_alone(tree, outside, capsys):
    path = tree / "services/orders/app/main.py"
    path.unlink()
    os.link(outside / "app/main.py", path)
    path.chmod(0o750)

    assert main([str(tree), "--fix"]) == 0
    assert (outside / "app/main.py").read_text() == MISSING
    assert "init_tracing" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert [one.name for one in path.parent.iterdir()] == ["main.py"]


def test_fix_reports_a_file_that_it_cannot_write(tree, capsys):
    (tree / "real").mkdir()
    (tree / "real/main.py").write_text("print()\n")
    link(tree / "linked", "real")
    (tree / "Procfile").write_text("web: python linked/main.py\n")
    (tree / "services/orders/app/main.py").write_text(GOOD)

    main([str(tree), "--fix"])

    assert capsys.readouterr().err.startswith("not fixed linked/main.py: not a plain file, or behind a link")
    assert (tree / "real/main.py").read_text() == "print()\n"


# -- what the cache trusts ------------------------------------------------------------------------


def cached_good(tree: Path, capsys) -> None:
    (tree / "services/orders/app/main.py").write_text(GOOD)
    assert main([str(tree)]) == 0, capsys.readouterr()


def test_a_cache_from_another_directory_is_ignored(tree, tmp_path, capsys):
    cached_good(tree, capsys)
    held = tree / ".somatrace_cache/check.json"
    other = tmp_path / "other"
    (other / "services/orders/app").mkdir(parents=True)
    path = other / "services/orders/app/main.py"
    path.write_text(MISSING + "#" * (len(GOOD) - len(MISSING)))
    entry = json.loads(held.read_bytes().partition(b"\n")[2])
    changed = entry["files"]["services/orders/app/main.py"][1]
    os.utime(path, ns=(changed, changed))
    (other / ".somatrace_cache").mkdir()
    (other / ".somatrace_cache/check.json").write_bytes(held.read_bytes())

    assert main([str(other)]) == 1


def test_a_file_with_the_size_and_time_of_the_cached_one_is_read_again(tree, capsys):
    path = tree / "services/orders/app/main.py"
    path.write_text(GOOD)
    os.utime(path, ns=(10**18, 10**18))
    assert main([str(tree)]) == 0

    path.write_text(MISSING + "#" * (len(GOOD) - len(MISSING)))
    os.utime(path, ns=(10**18, 10**18))

    assert main([str(tree)]) == 1


@pytest.mark.parametrize("home", ["home", "."])
def test_a_key_that_comes_with_the_tree_is_not_used(tree, capsys, monkeypatch, home):
    monkeypatch.setenv("HOME", str(tree / home))
    key = tree / home / ".cache/somatrace/check.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)

    assert main([str(tree)]) == 1
    assert not (tree / ".somatrace_cache").exists()


def test_a_key_that_others_can_read_is_not_used(tree, capsys):
    key = Path.home() / ".cache/somatrace/check.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)

    assert main([str(tree)]) == 1
    assert not (tree / ".somatrace_cache").exists()
