"""The walk of a tree answers what it can; the rest is looked up, and a cached report looks again."""

from __future__ import annotations

import pytest

from somatrace.check.project.file_tree import FileTree


def test_a_path_in_a_directory_that_does_not_exist_is_missing_without_a_look(tmp_path):
    (tmp_path / "app").mkdir()
    tree = FileTree(tmp_path)

    assert not tree.is_file("app/src/main.py")
    assert not tree.is_file("nowhere/src/main.py")
    assert not tree.is_folder("app/src/inner/deeper")
    assert tree.probed() == {}


@pytest.mark.parametrize("name", ["build", ".hidden", "node_modules", "left_out"])
def test_a_directory_that_is_not_walked_is_looked_into(tmp_path, name):
    (tmp_path / "app" / name / "inner").mkdir(parents=True)
    (tmp_path / "app" / name / "inner" / "main.py").write_text("")
    tree = FileTree(tmp_path, exclude=("app/left_out",))

    assert tree.is_file(f"app/{name}/inner/main.py")
    assert tree.probed() == {f"app/{name}/inner/main.py": True}


def test_a_directory_that_is_not_walked_may_appear_later(tmp_path):
    tree = FileTree(tmp_path)

    assert not tree.is_file("build/app/main.py")
    assert tree.probed() == {"build/app/main.py": False}


def test_a_link_to_a_directory_is_followed(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "inner" / "main.py").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)

    assert FileTree(tmp_path).is_file("link/inner/main.py")


def test_a_path_that_goes_up_is_looked_up(tmp_path):
    (tmp_path / "app" / "inner").mkdir(parents=True)
    (tmp_path / "main.py").write_text("")

    assert FileTree(tmp_path).is_file("app/inner/../../main.py")


def test_a_path_below_a_file_is_missing(tmp_path):
    (tmp_path / "main.py").write_text("")

    assert not FileTree(tmp_path).is_file("main.py/app/main.py")
